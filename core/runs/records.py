"""Which records a run was begun on: their ids, in order, with the part of the split that each was in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sensorium.contracts import RecordColumns
from sensorium.contracts.record_columns import Column
from sensorium.runs.atomic import write_atomically
from sensorium.runs.run import Run

NAMED = 3
"""How many records a sentence names."""
PIECE = 2**20
"""Ids that are hashed at a time."""


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


def keep_records(run: Run, columns: RecordColumns, parts: Mapping[str, np.ndarray], cut: Mapping[str, Any]) -> None:
    """Write the ids of a run's records and their parts, and note how many each part has, with a hash of their ids.

    What a run has on file already is not written again.

    Args:
        run: the run folder.
        columns: of the records.
        parts: part of the split -> positions in the source.
        cut: what the parts are a function of, which `kept_parts` asks for.
    """
    if run.status().get("cut") == cut:
        return
    table = _table(columns, parts)
    write_atomically(run.records_file, lambda path: pq.write_table(table, path, compression="zstd"))
    run.update(records=_summary(table, parts), cut=dict(cut))


def kept_parts(run: Run, count: int, cut: Mapping[str, Any], names: Sequence[str]) -> np.ndarray | None:
    """Return the number of the part of each record, int8 (N,), as a run that is cut alike has them on file, or None.

    Args:
        run: the run folder.
        count: N.
        cut: what the parts are a function of: a fingerprint of the records, and how they are split.
        names: of the parts, in the order of their numbers.
    """
    if run.status().get("cut") != cut or not run.records_file.is_file():
        return None
    table = pq.read_table(run.records_file, columns=["position", "part"], read_dictionary=["part"])
    parts_N = np.full(count, -1, np.int8)
    numbers = pc.index_in(table["part"].cast(pa.string()), value_set=pa.array(names))
    parts_N[table["position"].to_numpy()] = numbers.to_numpy()
    return None if (parts_N < 0).any() else parts_N


def changed_records(
    run: Run, columns: RecordColumns, parts: Mapping[str, np.ndarray], cut: Mapping[str, Any]
) -> ChangedRecords | None:
    """Return how the records differ from those that the run was begun on; None if not at all, or if none were kept."""
    status = run.status()
    if status.get("cut") == cut or status.get("records") is None:
        return None
    now = _table(columns, parts)
    if status["records"] == _summary(now, parts) or not run.records_file.is_file():
        return None
    before = pq.read_table(run.records_file)
    row_before = pc.index_in(now["id"], value_set=before["id"])
    is_new, is_gone = pc.is_null(row_before), pc.is_null(pc.index_in(before["id"], value_set=now["id"]))
    moved = pc.not_equal(before["part"].take(row_before), now["part"])
    return ChangedRecords(
        gone=before["id"].filter(is_gone).to_pylist(),
        new=now["id"].filter(is_new).to_pylist(),
        moved=now["id"].filter(pc.fill_null(moved, False)).to_pylist(),
    )


def _table(columns: RecordColumns, parts: Mapping[str, np.ndarray]) -> pa.Table:
    """Return the ids of the records of all parts, in order, with the part and the position of each."""
    positions_N = np.concatenate(list(parts.values()))
    words = pa.array(list(parts), pa.string())
    part_N = np.repeat(np.arange(len(parts)), [len(rows) for rows in parts.values()])
    ids = columns.id_column(positions_N)
    return pa.table({"id": ids, "part": words.take(pa.array(part_N)), "position": positions_N})


def _summary(table: pa.Table, parts: Mapping[str, np.ndarray]) -> dict[str, dict[str, object]]:
    """Return the number of records of each part and a hash of their ids, in order."""
    summary: dict[str, dict[str, object]] = {}
    start = 0
    for part, rows in parts.items():
        found = blake2b(digest_size=16)
        for lines in _joined(table["id"].slice(start, len(rows))):
            found.update(lines)
        summary[part] = {"count": len(rows), "hash": found.hexdigest()}
        start += len(rows)
    return summary


def _joined(ids: Column) -> Iterator[Any]:
    """Yield texts joined by newlines, as bytes, some of them at a time."""
    for start in range(0, len(ids), PIECE):
        some = ids.slice(start, PIECE).combine_chunks().cast(pa.string())
        if start:
            yield b"\n"
        yield pc.binary_join(pa.ListArray.from_arrays([0, len(some)], some), "\n")[0].as_buffer()


def _count(ids: Sequence[str]) -> str:
    return f"{len(ids):,} {'is' if len(ids) == 1 else 'are'}"


def _first(ids: Sequence[str]) -> str:
    """Return the first few of some ids, quoted."""
    return ", ".join(f"'{id}'" for id in ids[:NAMED]) + (", ..." if len(ids) > NAMED else "")
