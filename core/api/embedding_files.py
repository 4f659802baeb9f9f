"""Embeddings of few records as files: NumPy arrays, or a table in text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from sensorium.data.summary import RecordSummary
from sensorium.errors import RunError
from sensorium.feature_table import FeatureTable
from sensorium.runs.atomic import write_atomically

STREAMED = (".parquet", ".lance")
"""Files that are written as a stream (`sensorium.embeddings.stream`)."""


def require_format(path: Path, space: str = "embedding") -> None:
    """Raise an error if a file ends in no format of embeddings, or in none that holds those of a space.

    Raises:
        RunError: which names those there are.
    """
    if path.suffix.lower() not in (*STREAMED, *WRITERS):
        known = ", ".join((*STREAMED, *WRITERS))
        raise RunError(f"Embeddings are written to a file that ends in one of {known}: '{path}' does not.")
    if space in ("layers", "tokens") and path.suffix.lower() != ".npz":
        raise RunError(f"Of each record there are several {space}, which are written to .npz alone: '{path}' is none.")


def write_embeddings(path: Path, table: FeatureTable, parts: Sequence[str], summaries: Iterable[RecordSummary]) -> None:
    """Write N records in the format of the file's extension.

    - `.npz`: `ids`, and for each modality an array (N, D) with rows of nan where a record lacks it. Layers are
      (N, L, D), with `layers.MODALITY`, what the L layers are; tokens are (N, T, D), nan at padding.
    - `.csv`: a row for each record with the columns `id`, `split`, `label.NAME`, `caption.MODALITY` (texts and SMILES),
      `path.MODALITY` and `MODALITY.0` to `MODALITY.D-1`, empty where a record lacks it.

    Args:
        path: the file.
        table: ids and embeddings.
        parts: "train", "val" or "test" of each record.
        summaries: captions, paths and labels of each record; tables alone have them, and read the records for them.
    """
    write_atomically(path, lambda part: WRITERS[path.suffix.lower()](part, table, parts, summaries))


def _write_npz(path: Path, table: FeatureTable, parts: Sequence[str], summaries: Iterable[RecordSummary]) -> None:
    layers = {f"layers.{name}": np.array(list(map(str, of_modality))) for name, of_modality in table.layers.items()}
    with open(path, "wb") as file:
        np.savez(file, **{"ids": np.array(table.ids), **table.features, **layers})  # type: ignore[arg-type]


def _write_csv(path: Path, table: FeatureTable, parts: Sequence[str], summaries: Iterable[RecordSummary]) -> None:
    columns = _about(table, parts, summaries)
    for name, x_ND in table.features.items():
        absent_N = ~table.present[name]
        columns |= {f"{name}.{i}": pa.array(x_N, mask=absent_N) for i, x_N in enumerate(x_ND.T)}
    pa.csv.write_csv(pa.table(columns), path)


def _about(table: FeatureTable, parts: Sequence[str], summaries: Iterable[RecordSummary]) -> dict[str, pa.Array]:
    """Return the columns beside the embeddings."""
    columns, told = {"id": pa.array(table.ids), "split": pa.array(list(parts))}, list(summaries)
    for prefix in ("label", "caption", "path"):
        of_records: list[Mapping[str, object]] = [getattr(summary, f"{prefix}s") for summary in told]
        for name in dict.fromkeys(name for values in of_records for name in values):
            columns[f"{prefix}.{name}"] = _column([values.get(name) for values in of_records])
    return columns


def _column(values: Sequence[object]) -> pa.Array:
    """Return a column of numbers or of texts; of both it is one of texts."""
    try:
        return pa.array(values)
    except pa.ArrowException:
        return pa.array([None if value is None else str(value) for value in values])


Writer = Callable[[Path, FeatureTable, Sequence[str], Iterable[RecordSummary]], None]
WRITERS: dict[str, Writer] = {".npz": _write_npz, ".csv": _write_csv}
"""What writes embeddings that are in memory, by the file's extension."""
