"""Unreadable values: each reported once in a run, tabulated, and, beyond a fraction of all records, too many."""

from __future__ import annotations

import csv
import io
import logging
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sensorium.errors import BadSample, DataError, FaultKind, Location, RunError
from sensorium.parallel import collectives
from sensorium.runs.atomic import write_atomically

log = logging.getLogger("sensorium")
NAMED = 100
"""So many unreadable values have a line of their own in the log of one process; more are counted by reason."""
COMMONEST = 3
"""Reasons that a sentence tells."""
FOREIGN = ("damaged", "unsupported")
"""Kinds of faults that a file has which does not belong among the others."""
SEE_ALL = "`sensorium check` finds all of them at once"
COLUMNS = ("record", "modality", "part", "kind", "path", "line", "column", "reason")
"""Of the table of unreadable values."""


Key = tuple[str, str, str]


@dataclass(frozen=True)
class UnreadableValue:
    """One value that could not be read.

    Args:
        record: id of its record.
        position: where the source has the record.
        modality: the modality that it is a value of; "" when the record could not be read at all.
        reason: why, a clause.
        kind: the kind of fault.
        where: where it is found again, if known.
    """

    record: str
    position: int
    modality: str
    reason: str
    kind: FaultKind
    where: Location | None

    @classmethod
    def of(
        cls, fault: BadSample, record: str, position: int, modality: str = "", where: Location | None = None
    ) -> UnreadableValue:
        """Return what is reported of a fault; `where` is the location if the fault itself names none."""
        reason = " ".join(str(fault).split()).rstrip(".")
        return cls(record, position, modality, reason, fault.kind, fault.where or where)

    @property
    def key(self) -> Key:
        """What makes it the same in another epoch, or after a resume."""
        return self.record, self.modality, self.reason

    @property
    def subject(self) -> str:
        """The value, or record, in words."""
        of = f"{self.modality} of " if self.modality else ""
        return f"{of}record '{self.record}'"

    @property
    def sentence(self) -> str:
        """What the log says of it."""
        where = str(self.where) if self.where is not None else ""
        is_named = not where or where in self.reason or where == self.record or self.reason.startswith(f"'{where}'")
        return f"{self.subject}: {self.reason}{'' if is_named else f' ({where})'}"

    @property
    def general_reason(self) -> str:
        """The reason without the names and numbers of this value, by which faults are counted."""
        reason = self.reason
        for name in (self.where.path if self.where is not None else "", self.record):
            if name:
                reason = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", reason)
        reason = re.sub(r"'[^']*'|\"[^\"]*\"", "…", reason)
        return re.sub(r"\d+(,\d{3})*(\.\d+)?", "#", reason)


class UnreadableRecords:
    """Counts the records that have an unreadable value, each once, and tabulates these values.

    One of them serves all of a run: every part of its records, training and evaluation alike. Over several ranks, each
    notes what it cannot read, and all are counted and written when every rank calls `share`.

    Args:
        total: how many records there are in the source.
        max_bad: the fraction of them that may be unreadable (`data.max_bad`); above 0, one always may.
        path: a CSV file with a row for each value, written when there is one; None writes none. What stands in it,
            from before a resume, is neither logged nor written again.
        parts: part -> the positions in the source of its records, for the table.
        options: names of the source's options; those that would help are named when there are too many.
    """

    def __init__(
        self,
        total: int,
        max_bad: float,
        path: Path | str | None = None,
        parts: Mapping[str, np.ndarray] | None = None,
        options: Iterable[str] = (),
    ) -> None:
        self.total, self.max_bad = total, max_bad
        self.path = None if path is None else Path(path)
        self.options = frozenset(options)
        self.values: dict[Key, UnreadableValue] = {}
        self._records: set[str] = set()
        self._unshared: list[UnreadableValue] = []
        self._listed: set[Key] | None = None
        self._named, self._unnamed = 0, Counter[tuple[str, str]]()
        self._part_of = np.full(total, "", dtype="U5")
        for part, positions in (parts or {}).items():
            self._part_of[positions] = part

    def __len__(self) -> int:
        return len(self._records)

    @property
    def allowed(self) -> int:
        """How many records may be unreadable: a fraction of all; one in any case, unless the fraction is 0."""
        return max(math.floor(self.max_bad * self.total + 1e-9), 1 if self.max_bad else 0)

    def add(self, value: UnreadableValue) -> None:
        """Count one unreadable value; over several ranks, note it until they share.

        Raises:
            DataError: when more records than are allowed have one.
        """
        if value.key in self.values:
            return
        if collectives.world_size() > 1:
            self._unshared.append(value)
        else:
            self._report(self.count([value]))
            self.require_few(SEE_ALL)

    def share(self) -> None:
        """Count what ranks have noted since the last call, and write it once; a collective operation.

        Raises:
            DataError: on every rank, when more records than are allowed are unreadable.
        """
        if collectives.world_size() > 1 and collectives.any_rank(bool(self._unshared)):
            noted = collectives.all_gather_objects(self._unshared)
            self._unshared = []
            new = self.count(value for of_rank in noted for value in of_rank)
            if collectives.rank() == 0:
                self._report(new)
            self.require_few(SEE_ALL)

    def end_of_pass(self) -> None:
        """Log, by reason, how many unreadable values had no line of their own since the last call."""
        if self._unnamed:
            where = f"; all are in {self.path}" if self.path is not None else ""
            log.warning("%d more unreadable values: %s%s", self._unnamed.total(), _in_words(self._unnamed), where)
            self._unnamed.clear()

    def count(self, values: Iterable[UnreadableValue]) -> list[UnreadableValue]:
        """Count unreadable values without a word about them, however many there are; return those that are new."""
        new = []
        for value in values:
            if value.key not in self.values:
                self.values[value.key] = value
                self._records.add(value.record)
                new.append(value)
        return new

    def require_few(self, hint: str = "") -> None:
        """Raise an error if there are too many.

        Raises:
            DataError: with the commonest reasons and what to do; `hint` ends the sentence.
        """
        if len(self) > self.allowed:
            raise DataError(f"{self._sentence()}{f'; {hint}' if hint else ''}.")

    def write(self, path: Path) -> None:
        """Write the table of all that were counted."""
        write_atomically(path, lambda part: _append(part, [COLUMNS, *map(self.row, self.values.values())]))

    def row(self, value: UnreadableValue) -> tuple[object, ...]:
        """Return a value as a row of the table, its cells in the order of `COLUMNS`."""
        where = value.where or Location("")
        part = str(self._part_of[value.position]) if value.position < self.total else ""
        kind, reason = value.kind, value.reason
        return value.record, value.modality, part, kind, where.path, where.line, where.column, reason

    def _report(self, counted: Sequence[UnreadableValue]) -> None:
        """Write values to the table, and log each until there are many."""
        values = [value for value in counted if value.key not in self._already_listed()]
        if values and self.path is not None:
            rows = [self.row(value) for value in values]
            _append(self.path, rows if self.path.exists() else [COLUMNS, *rows])
        for value in values:
            self._named += 1
            if self._named <= NAMED:
                log.warning("unreadable: %s", value.sentence)
            else:
                self._unnamed[value.modality, value.general_reason] += 1

    def _already_listed(self) -> set[Key]:
        """Return the keys of what the table held when it was first asked for."""
        if self._listed is None:
            self._listed = set() if self.path is None else _listed(self.path)
        return self._listed

    def _sentence(self) -> str:
        reasons = Counter((value.modality, value.general_reason) for value in self.values.values())
        where = f" All are in {self.path}." if self.path is not None else ""
        return (
            f"{len(self)} of {self.total} records are unreadable or have an unreadable value "
            f"({percent(len(self) / self.total)}), more than data.max_bad = {percent(self.max_bad)} allows: "
            f"{_in_words(reasons, self._example_of)}.{where} Repair or remove them, or {self._advice()}"
        )

    def _example_of(self, modality: str, reason: str) -> str:
        found = (v for v in self.values.values() if (v.modality, v.general_reason) == (modality, reason))
        return f" (such as '{next(found).record}')"

    def _advice(self) -> str:
        """Return the options that would let the run go on."""
        fraction = float(f"{2 * len(self) / self.total:.1g}")  # at least 1.3 times as many, rounded to one digit
        advice = [f"set data.max_bad={fraction:g}, or more" if fraction < 1 else "set data.max_bad=1"]
        faults = self.values.values()
        files = (v.where.path for v in faults if v.where and v.where.line is None and v.kind in FOREIGN)
        endings, kinds = Counter(Path(file).suffix.lower() for file in files), {fault.kind for fault in faults}
        if "extensions" in self.options and endings:
            named = ", ".join(ending or "none" for ending, _ in endings.most_common(COMMONEST))
            advice.append(f"list the extensions to read in data.source.extensions (unreadable files end in {named})")
        if "encoding" in self.options and "encoding" in kinds:
            advice.append("name the encoding of the text in data.source.encoding")
        return ", or ".join(advice)


def _in_words(reasons: Counter[tuple[str, str]], example_of: Callable[[str, str], str] | None = None) -> str:
    """Return the commonest reasons, each with its count, and the count of all others."""
    commonest = reasons.most_common(COMMONEST)
    told = [
        f"{count} × {modality or 'record'}: {reason}{'' if example_of is None else example_of(modality, reason)}"
        for (modality, reason), count in commonest
    ]
    if rest := reasons.total() - sum(count for _, count in commonest):
        told.append(f"{rest} × other reasons")
    return "; ".join(told)


def _append(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Add rows to a CSV file, whole ones."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", errors="backslashreplace", newline="") as file:
            file.write(text.getvalue())
    except OSError as error:
        raise RunError(f"{path} could not be written ({error}): free some space.") from error


def _listed(path: Path) -> set[Key]:
    """Return the keys of the rows of a table; a last one that was cut is removed from it."""
    if not path.exists():
        return set()
    held = path.read_bytes()
    whole = held[: held.rfind(b"\n") + 1]  # no cell holds a line break
    if len(whole) < len(held):
        os.truncate(path, len(whole))
    rows = csv.DictReader(io.StringIO(whole.decode("utf-8", "replace"), newline=""))
    return {(row["record"], row["modality"], row["reason"]) for row in rows}


def percent(fraction: float) -> str:
    """Write a fraction in percent: 0.03 is "3 %"."""
    return f"{100 * fraction:.3g} %"
