"""What tests read of unreadable values."""

import csv
from pathlib import Path

from sensorium.data.unreadable import UnreadableRecords


def unreadable(run: Path) -> list[dict[str, str]]:
    """Return the rows of the table of unreadable values in a run folder."""
    with (run / "unreadable.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def reasons(bad: UnreadableRecords) -> dict[str, str]:
    """Return record id -> the reason why a value of it could not be read."""
    return {value.record: value.reason for value in bad.values.values()}
