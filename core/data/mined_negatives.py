"""Mined negatives: the file between `sensorium mine` and a training, and what a training reads of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sensorium.contracts import Source
from sensorium.errors import DataError

SCHEMA = pa.schema(
    [
        ("query", pa.string()),
        ("negative", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
        ("positive_score", pa.float32()),
    ]
)
"""One row for each negative, those of a query together and hardest first.

`query` and `negative` are record ids; `rank` is 1 for the nearest of all that is neither positive nor a duplicate;
`score` is the cosine of the two, `positive_score` the query's least cosine with a positive. The metadata entry
"sensorium" is JSON: `about` (the run, `query` and `target` modality, `field`: the source's field of the target, the
rules) and `statistics`.
"""


class MinedNegatives:
    """The negatives of a source's records, as `sensorium mine` found them.

    Args:
        source: the records that negatives were mined in.
        path: the Parquet file that `sensorium mine` wrote.
        count: the most negatives of a record, the hardest.

    `count` is then the most that any record has.

    Raises:
        DataError: when the file has no negatives of these records.
    """

    def __init__(self, source: Source, path: str, count: int = 1) -> None:
        try:
            table = pq.read_table(Path(path).expanduser())
            about = json.loads((table.schema.metadata or {})[b"sensorium"])["about"]
            queries, negatives = table["query"], table["negative"]
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise DataError(
                f"'{path}' has no mined negatives ({error}): `sensorium mine` writes such a file."
            ) from error
        self.field: str = about["field"]
        if self.field not in source.fields:
            raise DataError(
                f"The negatives of '{path}' are values of the field '{self.field}', which the source does not have; "
                f"its fields are: {', '.join(source.fields)}."
            )
        self._path, self._source = path, source
        columns = source.columns()
        query_M, negative_M = columns.positions_of(queries), columns.positions_of(negatives)
        if (unknown := np.flatnonzero(np.concatenate([query_M, negative_M]) < 0)).size:
            first = pa.chunked_array([*queries.chunks, *negatives.chunks])[int(unknown[0])].as_py()
            raise DataError(
                f"The negatives of '{path}' were mined in other records: the source has none with the id "
                f"'{first}' ({len(unknown)} such); mine again with this source."
            )
        order_M = np.argsort(query_M, kind="stable")
        query_M, negative_M = query_M[order_M], negative_M[order_M]
        rank_M = np.arange(len(query_M)) - np.searchsorted(query_M, query_M)  # among those of its query
        self._negatives = np.full((len(source), count), -1, np.int64)
        kept_M = rank_M < count
        self._negatives[query_M[kept_M], rank_M[kept_M]] = negative_M[kept_M]
        filled = (self._negatives >= 0).sum(1)
        self.count = int(filled.max(initial=0))

    def keep_within(self, positions: np.ndarray) -> None:
        """Make sure that no record at `positions` (the train part) has a negative outside of them.

        Raises:
            DataError: when one has.
        """
        used = self._negatives[positions]
        outside = (used >= 0) & ~np.isin(used, positions)
        if outside.any():
            row, column = np.argwhere(outside)[0]
            raise DataError(
                f"{int(outside.sum())} negatives of '{self._path}' lie outside the train part, the first is "
                f"'{self._source.key(int(used[row, column])).id}': mine the train part under the same split "
                "(data.val, data.test, data.split_seed)."
            )

    def of(self, position: int) -> list[int]:
        """Return where the source has the negatives of the record at a position, hardest first."""
        return [at for at in self._negatives[position].tolist() if at >= 0]

    def modality(self, fields: Mapping[str, str]) -> str:
        """Return the modality whose values the negatives are.

        Args:
            fields: modality name -> the field that it reads.

        Raises:
            DataError: when no modality reads the field that was mined.
        """
        for name, field in fields.items():
            if field == self.field:
                return name
        raise DataError(
            f"The negatives of '{self._path}' are values of the field '{self.field}', which no modality of the recipe "
            f"reads; they read {', '.join(fields.values())}."
        )
