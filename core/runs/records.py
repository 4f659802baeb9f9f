"""Which records a run was begun on: their ids, in order, with the part of the split that each was in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sensorium.contracts import Source
from sensorium.runs.atomic import write_atomically
from sensorium.runs.run import Run

NAMED = 3
"""How many records a sentence names."""


@dataclass(frozen=True)
class ChangedRecords:
    """How the records of a run differ from those that it was begun on.

    Args:
        gone: ids that the source has no more.
        new: ids that it did not have.
        moved: ids that are in another part of the split.
    """

    gone: Sequence[str]
    new: Sequence[str]
    moved: Sequence[str]

    def __str__(self) -> str:
        said = {"gone": self.gone, "new": self.new, "in another part of the split": self.moved}
        some = [f"{_count(ids)} {how} ({_first(ids)})" for how, ids in said.items() if len(ids)]
        return ", ".join(some) or "all are there, in another order"


def keep_records(run: Run, source: Source, parts: Mapping[str, np.ndarray]) -> None:
    """Write the ids of a run's records, and note how many there are in each part, with a hash of their ids.

    Args:
        run: the run folder.
        source: the records.
        parts: part of the split -> positions in the source.
    """
    ids = {part: _ids(source, rows) for part, rows in parts.items()}
    columns = {
        "id": pa.array([id for of_part in ids.values() for id in of_part], pa.string()),
        "part": pa.array([part for part, of_part in ids.items() for _ in of_part], pa.string()),
    }
    write_atomically(run.records_file, lambda path: pq.write_table(pa.table(columns), path, compression="zstd"))
    run.update(records=_summary(ids))


def changed_records(run: Run, source: Source, parts: Mapping[str, np.ndarray]) -> ChangedRecords | None:
    """Return how the records differ from those that the run was begun on; None if not at all, or if none were kept."""
    ids, kept = {part: _ids(source, rows) for part, rows in parts.items()}, run.status().get("records")
    if kept is None or kept == _summary(ids) or not run.records_file.is_file():
        return None
    table = pq.read_table(run.records_file)
    before = dict(zip(table["id"].to_pylist(), table["part"].to_pylist(), strict=True))
    now = {id: part for part, of_part in ids.items() for id in of_part}
    return ChangedRecords(
        gone=[id for id in before if id not in now],
        new=[id for id in now if id not in before],
        moved=[id for id, part in now.items() if before.get(id, part) != part],
    )


def _ids(source: Source, positions: np.ndarray) -> list[str]:
    return [source.key(int(position)).id for position in positions]


def _summary(ids: Mapping[str, Sequence[str]]) -> dict[str, dict[str, object]]:
    """Return the number of records of each part and a hash of their ids, in order."""
    return {
        part: {"count": len(of_part), "hash": blake2b("\n".join(of_part).encode(), digest_size=16).hexdigest()}
        for part, of_part in ids.items()
    }


def _count(ids: Sequence[str]) -> str:
    return f"{len(ids):,} {'is' if len(ids) == 1 else 'are'}"


def _first(ids: Sequence[str]) -> str:
    """Return the first few of some ids, quoted."""
    return ", ".join(f"'{id}'" for id in ids[:NAMED]) + (", ..." if len(ids) > NAMED else "")
