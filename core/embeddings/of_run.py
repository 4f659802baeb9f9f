"""A file of embeddings beside the run that made it: whether they belong together, and which record each row is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium.contracts import Source
from sensorium.embeddings.identity import weights_hash
from sensorium.errors import RunError
from sensorium.feature_table import FeatureTable
from sensorium.models.model import Model


class Embedded(Protocol):
    """What holds vectors and says what they were made of: a file of embeddings, or an index of records."""

    path: Path
    about: dict[str, Any]


def require_same(file: Embedded, model: Model, space: str) -> None:
    """Raise an error for a file that other weights made, or of another space; of a foreign file nothing is known.

    Raises:
        RunError: which says how to make it again.
    """
    if file.about and file.about.get("weights") != weights_hash(model):
        raise RunError(f"'{file.path}' was embedded with other weights than those of this run: embed it again.")
    if file.about and (made := file.about.get("space")) != space:
        raise RunError(f"'{file.path}' has vectors of the space '{made}', not '{space}': embed with --space {space}.")


def with_positions(table: FeatureTable, source: Source) -> FeatureTable:
    """Return the table with where the source has its records.

    Raises:
        RunError: when it does not have one of them.
    """
    found = pc.index_in(pa.array(table.ids, pa.string()), value_set=_whole(source.columns().id_column()))
    if found.null_count:
        missing = table.ids[int(np.flatnonzero(np.asarray(found.is_null()))[0])]
        raise RunError(f"The record '{missing}' of the file of embeddings is none of the source's: embed it again.")
    return replace(table, positions=found.to_numpy().astype(np.int64))


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
