"""Mined negatives: the file between `sensorium mine` and a training, and the source that brings them to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sensorium.contracts import Source
from sensorium.errors import DataError
from sensorium.types import Record

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


class MinedSource(Source):
    """A source whose records also carry raw values of their mined negatives, each in a field of its own.

    With F the field that negatives were mined in, the fields are F_negative_1, F_negative_2 and so on, hardest first.
    A record that has fewer lacks the further ones.

    Args:
        source: the records that negatives were mined in.
        path: the Parquet file that `sensorium mine` wrote.
        count: how many negatives of a record to bring.
    """

    def __init__(self, source: Source, path: str, count: int = 1) -> None:
        self.root, self._source = source.root, source
        try:
            table = pq.read_table(Path(path).expanduser())
            about = json.loads((table.schema.metadata or {})[b"sensorium"])["about"]
            queries, negatives = table["query"].to_pylist(), table["negative"].to_pylist()
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise DataError(
                f"'{path}' holds no mined negatives ({error}): `sensorium mine` writes such a file."
            ) from error
        self._field = about["field"]
        if self._field not in source.fields:
            raise DataError(
                f"The negatives of '{path}' are values of the field '{self._field}', which the source does not have; "
                f"its fields are: {', '.join(source.fields)}."
            )
        self._names = [f"{self._field}_negative_{i + 1}" for i in range(count)]
        self._path = path
        places = {source.key(i).id: i for i in range(len(source))}
        if unknown := [name for name in (*queries, *negatives) if name not in places]:
            raise DataError(
                f"The negatives of '{path}' were mined in other records: the source has none with the id "
                f"'{unknown[0]}' ({len(unknown)} such); mine again with this source."
            )
        self._negatives = np.full((len(source), count), -1, np.int64)
        filled = np.zeros(len(source), np.int64)
        for query, negative in zip(queries, negatives, strict=True):
            row = places[query]
            if filled[row] < count:
                self._negatives[row, filled[row]] = places[negative]
                filled[row] += 1

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

    def negatives(self, fields: Mapping[str, str]) -> dict[str, str]:
        """Return the fields of negatives, each with the modality whose values they hold.

        Args:
            fields: modality name -> the field that it reads.

        Raises:
            DataError: when no modality reads the field that was mined.
        """
        for modality, name in fields.items():
            if name == self._field:
                return dict.fromkeys(self._names, modality)
        raise DataError(
            f"The negatives of '{self._path}' are values of the field '{self._field}', which no modality of the recipe "
            f"reads; they read {', '.join(fields.values())}."
        )

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the records, and those of their negatives."""
        return (*self._source.fields, *self._names)

    def __len__(self) -> int:
        return len(self._source)

    def key(self, index: int) -> Record:
        """Return the record at `index` without its values."""
        return self._source.key(index)

    def __getitem__(self, index: int) -> Record:
        record = self._source[index]
        found = zip(self._names, self._negatives[index], strict=True)
        values = {name: self._source[int(at)].values.get(self._field) for name, at in found if at >= 0}
        return Record(record.id, {**record.values, **values}, record.labels, record.split, record.group)

    def present(self, field: str) -> np.ndarray | None:
        """Return which records have a value in `field`: bool (N,)."""
        if field not in self._names:
            return self._source.present(field)
        return self._negatives[:, self._names.index(field)] >= 0
