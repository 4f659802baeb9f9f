"""What was found in the records of a source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sensorium.checking.labels import LabelCounts
from sensorium.checking.modality_report import ModalityReport
from sensorium.checking.text import label_lines, modality_lines, row, unreadable_lines
from sensorium.contracts import Source
from sensorium.data.unreadable import COLUMNS, UnreadableRecords, percent

SCHEMA = 1
"""Version of what `DataReport.public` returns; it moves when a key is renamed or removed."""


@dataclass(frozen=True, repr=False)
class DataReport:
    """What `check` found; `str(report)` are its tables.

    Args:
        name: of the source or recipe.
        source: the records.
        parts: part -> its number of records.
        notes: what the source and its modalities say about them.
        modalities: name -> what was found in its values.
        labels: name -> how many records have which.
        unreadable: the values that cannot be read.
        seconds: that the examination took.
        workers: processes that examined.
    """

    name: str
    source: Source
    parts: dict[str, int]
    notes: list[str]
    modalities: dict[str, ModalityReport]
    labels: dict[str, LabelCounts]
    unreadable: UnreadableRecords
    seconds: float
    workers: int

    @property
    def records(self) -> int:
        """The number of records."""
        return sum(self.parts.values())

    def require_few_unreadable(self) -> None:
        """Raise an error if a training would stop at unreadable records.

        Raises:
            DataError: with the commonest reasons and what to do.
        """
        self.unreadable.require_few()

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def __repr__(self) -> str:
        return f"<DataReport of the {self.name}: {self.records:,} records, {len(self.unreadable):,} unreadable>"

    def _lines(self) -> Iterator[str]:
        processes = f"{self.workers} processes" if self.workers > 1 else "1 process"
        yield from row("checked", f"{self.name}: {self.records:,} records in {self.seconds:.1f} s, {processes}")
        yield from row("parts", ", ".join(f"{count:,} {part}" for part, count in self.parts.items()))
        for note in self.notes:
            yield from row("note", note)
        yield from row("unreadable", self._on_unreadable())
        yield from unreadable_lines(self.unreadable)
        for name, found in self.modalities.items():
            yield ""
            yield from modality_lines(name, found, self._id)
        for name, counts in self.labels.items():
            yield ""
            yield from label_lines(name, counts)

    def _on_unreadable(self) -> str:
        bad = self.unreadable
        if not len(bad):
            return "none"
        values = f" ({len(bad.values):,} values)" if len(bad.values) != len(bad) else ""
        return (
            f"{len(bad):,} of {self.records:,} records{values}, {percent(len(bad) / self.records)}; "
            f"data.max_bad = {percent(bad.max_bad)} allows {bad.allowed:,}"
        )

    def _id(self, position: int) -> str:
        return self.source.key(position).id

    def public(self) -> dict[str, Any]:
        """Return plain values for JSON, every unreadable value and every duplicate across parts included."""
        bad = self.unreadable
        return {
            "schema": SCHEMA,
            "name": self.name,
            "records": self.parts,
            "notes": self.notes,
            "modalities": {name: found.public(self._id) for name, found in self.modalities.items()},
            "labels": {
                name: {"classes": {str(v): n for v, n in found.classes.items()}, "missing": found.missing}
                for name, found in self.labels.items()
            },
            "unreadable": {
                "records": len(bad),
                "allowed": bad.allowed,
                "values": [dict(zip(COLUMNS, bad.row(value), strict=True)) for value in bad.values.values()],
            },
            "seconds": round(self.seconds, 3),
            "workers": self.workers,
        }
