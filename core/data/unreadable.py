"""Unreadable records: counted, named and, beyond a fraction, too many."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from sensorium.errors import DataError
from sensorium.parallel import collectives

log = logging.getLogger("sensorium")


class UnreadableRecords:
    """Counts the records that could not be decoded, each once.

    Args:
        total: how many records there are.
        max_bad: the fraction of them that may be unreadable (`data.max_bad`).
        path: a JSON-lines file that names each with its reason, written when there is one; None writes none. What
            stands in it, from another loader or before a resume, is neither logged nor written again.
        over_ranks: each rank reads some of the records: they are counted when every rank calls `share`.
    """

    def __init__(self, total: int, max_bad: float, path: Path | str | None = None, over_ranks: bool = False) -> None:
        self.total, self.max_bad, self.over_ranks = total, max_bad, over_ranks
        self.path = None if path is None else Path(path)
        self.reasons: dict[str, str] = {}
        self._unshared: dict[str, str] = {}
        self._written: set[str] = set()
        self._offset = 0

    def _is_written(self, id: str) -> bool:
        """Return whether the file names a record, after reading what was added to it since the last look."""
        if self.path is not None and self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._offset)
                lines = file.read().rpartition(b"\n")[0]
            self._offset += len(lines) + bool(lines)
            self._written.update(json.loads(line)["id"] for line in lines.splitlines() if line)
        return id in self._written

    def __len__(self) -> int:
        return len(self.reasons)

    def add(self, id: str, reason: str) -> None:
        """Count one unreadable record; over several ranks, note it until they share.

        Raises:
            DataError: when more than a fraction `max_bad` of all are unreadable.
        """
        if id in self.reasons:
            return
        if self.over_ranks:
            self._unshared[id] = reason
        else:
            self._count({id: reason}, writes=True)

    def share(self) -> None:
        """Count what ranks have noted since the last call, and write it once; a collective operation.

        Raises:
            DataError: on every rank, when more than a fraction `max_bad` of all are unreadable.
        """
        if self.over_ranks and collectives.any_rank(bool(self._unshared)):
            noted = collectives.all_gather_objects(self._unshared)
            self._unshared = {}
            self._count({id: reason for of_rank in noted for id, reason in of_rank.items()}, collectives.rank() == 0)

    def _count(self, noted: dict[str, str], writes: bool) -> None:
        for id, reason in noted.items():
            if id in self.reasons:
                continue
            self.reasons[id] = reason
            if writes and not self._is_written(id):
                log.warning("skipped record '%s': %s", id, reason)
                if self.path is not None:
                    line = json.dumps({"id": id, "reason": reason}, ensure_ascii=False)
                    with self.path.open("a", encoding="utf-8") as file:
                        file.write(line + "\n")
        if len(self) > self.max_bad * self.total:
            raise DataError(self._sentence())

    def _sentence(self) -> str:
        first, reason = next(iter(self.reasons.items()))
        where = f"; see {self.path}" if self.path is not None else ""
        return (
            f"{len(self)} of {self.total} records could not be decoded ({percent(len(self) / self.total)}), more "
            f"than data.max_bad = {percent(self.max_bad)} allows; the first is '{first}': {reason}{where}."
        )


def percent(fraction: float) -> str:
    """Write a fraction in percent: 0.03 is "3 %"."""
    return f"{100 * fraction:.3g} %"
