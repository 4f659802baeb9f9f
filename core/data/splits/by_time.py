"""The split by time: what comes last is the test part, what comes before it the val part."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium.contracts import RecordColumns, Split
from sensorium.contracts.record_columns import Column, is_mixed, numbered
from sensorium.data.splits.parts import TEST, TRAIN, VAL, Groups
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
        """Return the parts as numbers, int8 (N,); nothing is drawn."""
        columns = source.columns()
        times_N = self._times(columns)
        if columns.groups is not None:
            groups = Groups(columns)
            latest_G = np.full(len(groups), -np.inf)
            np.maximum.at(latest_G, groups.number_N, times_N)
            times_N = latest_G[groups.number_N]
        order_N = np.argsort(times_N, kind="stable")
        sorted_N, count = times_N[order_N], len(columns)
        parts_N = np.full(count, TRAIN, np.int8)
        last = count
        for part, fraction in ((TEST, fractions.get("test", 0.0)), (VAL, fractions.get("val", 0.0))):
            first = max(last - round(fraction * count), 0)
            # Records of one time go to the later part: the first of them decides.
            first = int(np.searchsorted(sorted_N, sorted_N[first])) if first < last else last
            parts_N[order_N[first:last]] = part
            last = first
        return parts_N

    def _times(self, columns: RecordColumns) -> np.ndarray:
        """Return the time of each record, float64 (N,): nanoseconds since 1970, or the numbers that there are."""
        stamps = columns.last if self.by is None else columns.labels.get(self.by)
        times_N = np.full(len(columns), np.nan) if stamps is None else _numbers(stamps)
        if (lacking_N := ~np.isfinite(times_N)).any():
            asked = f"in the label '{self.by}'" if self.by is not None else "stamp"
            raise DataError(
                f"The split 'by-time' finds no time {asked} of the record "
                f"'{columns.key(int(lacking_N.argmax())).id}': name a label column of numbers or dates that every "
                "record has as data.split.by, or choose another split."
            )
        return times_N


def _numbers(stamps: Column) -> np.ndarray:
    """Return time stamps as numbers, float64 (N,), nan for what is none."""
    if pa.types.is_temporal(stamps.type):
        stamps = stamps.cast(pa.timestamp("ns")).cast(pa.int64())
    values, number_N = numbered(stamps)
    if is_mixed(stamps.type) or pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        number_K = np.array([_number_of(word) for word in values.to_pylist()], np.float64)
    else:
        number_K = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.append(number_K, np.nan)[number_N]


def _number_of(word: str | float) -> float:
    if not isinstance(word, str):
        return float(word)
    try:
        time = np.datetime64(word).astype("datetime64[ns]")
    except (ValueError, OverflowError):
        return float("nan")
    return float("nan") if np.isnat(time) else float(time.astype(np.int64))
