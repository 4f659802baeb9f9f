"""The split by time: what comes last is the test part, what comes before it the val part."""

from __future__ import annotations

from typing import Any

import numpy as np

from sensorium.contracts import Source, Split
from sensorium.data.splits.parts import positions_by_group
from sensorium.errors import DataError


class ByTime(Split):
    """The latest records as the test part, those before them as the val part; what the source names does not count.

    A group is as late as its last record, and records of one time share a part, so that the fractions are met as nearly
    as that allows.

    Args:
        by: the label column with the time, numbers or dates such as 2026-03-01 or 2026-03-01T12:30; None takes the
            time stamps of the records, which parts of a recording have.
    """

    def __init__(self, by: str | None = None) -> None:
        self.by = by

    def assign(self, source, fractions, seed):
        """Return the parts; nothing is drawn."""
        times_N = np.array([self._time(source, i) for i in range(len(source))], dtype=np.float64)
        for positions in positions_by_group(source).values():
            times_N[positions] = times_N[positions].max()
        order_N = np.argsort(times_N, kind="stable")
        parts, count = np.full(len(source), "train", dtype=object), len(source)
        last = count
        for part in ("test", "val"):
            first = max(last - round(fractions.get(part, 0.0) * count), 0)
            # Records of one time go to the later part: the first of them decides.
            first = int(np.searchsorted(times_N[order_N], times_N[order_N[first]])) if first < last else last
            parts[order_N[first:last]] = part
            last = first
        return parts.tolist()

    def _time(self, source: Source, index: int) -> float:
        key = source.key(index)
        stamp: Any = key.time.last if self.by is None and key.time is not None else key.labels.get(self.by or "")
        try:
            if isinstance(stamp, str):
                stamp = np.datetime64(stamp)
            if isinstance(stamp, np.datetime64):
                stamp = stamp.astype("datetime64[ns]").astype(np.int64)
            time = float(stamp)
        except (TypeError, ValueError, OverflowError):
            time = float("nan")
        if np.isfinite(time):
            return time
        asked = f"in the label '{self.by}'" if self.by is not None else "stamp"
        raise DataError(
            f"The split 'by-time' finds no time {asked} of the record '{key.id}': name a label column of numbers or "
            "dates that every record has as data.split.by, or choose another split."
        )
