"""What was found in the values of one modality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sensorium.checking.duplicates import Duplicates
from sensorium.checking.facts import Summary


@dataclass(frozen=True)
class ModalityReport:
    """One modality over all records.

    Args:
        modality: the registered name of the modality.
        field: the source's field with its raw values.
        values: part -> how many records have a value that can be decoded.
        unreadable: part -> how many have one that cannot, or cannot be read at all.
        missing: part -> how many have none.
        facts: name -> summary over the decoded values.
        duplicates: values of equal content.
    """

    modality: str
    field: str
    values: dict[str, int]
    unreadable: dict[str, int]
    missing: dict[str, int]
    facts: dict[str, Summary]
    duplicates: Duplicates

    def public(self, id_of: Callable[[int], str]) -> dict[str, Any]:
        """Return plain values for JSON; `id_of` gives the id of the record at a position."""
        twice = self.duplicates
        return {
            **{name: getattr(self, name) for name in ("modality", "field", "values", "unreadable", "missing")},
            "facts": {name: asdict(summary) for name, summary in self.facts.items()},
            "duplicates": {
                "contents": twice.contents,
                "records": twice.records,
                "across": twice.across,
                "within": twice.within,
                "pairs": [[id_of(outside), id_of(train)] for outside, train in twice.pairs],
            },
        }
