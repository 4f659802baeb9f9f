"""What a caller hands in as a source: a source, arrays, columns, a data frame, a dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from sensorium.contracts import Source
from sensorium.data.arrays import ArraysSource
from sensorium.data.dataset import KEYS, DatasetSource, is_record, key_columns
from sensorium.data.stream import is_stream, read_whole
from sensorium.errors import DataError


def as_source(given: Any, fields: Sequence[str]) -> Source:
    """Return whatever was handed in as a source.

    Args:
        given: a `Source`; the values of the only field (an array along whose first axis they are, or a list); columns
            by name (a mapping, a pandas, polars or pyarrow table), of which `fields` are values, `id`, `split` and
            `group` what they say, and all others labels; or a dataset: anything with a length whose items are
            mappings or tuples, such as a torch `Dataset` or a list of records (see `DatasetSource`); or a stream of
            such items, which is read into memory: a generator, an `IterableDataset`.
        fields: the fields that the recipe reads, in its order.

    Raises:
        DataError: in one sentence, when it is none of these, or lacks the fields.
    """
    if isinstance(given, Source):
        return given
    if isinstance(given, str | bytes | os.PathLike | type | tuple):
        raise DataError(
            f"source is {_shown(given)}: hand in an array, a mapping of columns, a data frame, a dataset or a Source; "
            "files are named in the recipe, as data.source={name: table, path: ...} or {name: folder, path: ...}."
        )
    if isinstance(given, DataLoader):
        raise DataError(
            "source is a DataLoader, whose batches a training does not need: hand in its dataset, as loader.dataset."
        )
    if is_stream(given):
        given = read_whole(given)
    given, columns = _cells(given), _columns(given)
    if columns is not None:
        return _of_columns(columns, fields)
    if not hasattr(given, "__len__") or not hasattr(given, "__getitem__") or getattr(given, "shape", None) == ():
        raise DataError(
            f"source is of type {type(given).__name__}, which has no items: hand in an array, a list, a mapping of "
            "columns, a data frame, a dataset, a stream of records, or a Source."
        )
    if hasattr(given, "shape"):
        return ArraysSource({_only(fields, "an array"): given})
    if _is_dataset(given, fields):
        return DatasetSource(given, fields)
    return ArraysSource({_only(fields, "a list of values"): given})


def with_fields(given: Any, fields: Sequence[str] = ()) -> Source:
    """Return whatever was handed in as a source, where no recipe says which fields there are.

    Of columns, and of records that are mappings, all that are no numbers are fields, and numbers are labels; the values
    of an array or a list are the field "value".

    Args:
        given: as for `as_source`.
        fields: those that are named; none for all.
    """
    if is_stream(given):
        given = read_whole(given)
    if isinstance(given, Source) or fields:
        return as_source(given, fields)
    columns = _columns(_cells(given))
    if columns is None and isinstance(given, Sequence) and given and isinstance(given[0], Mapping):
        columns = {name: [record.get(name) for record in given] for name in given[0]}
    if columns is None:
        return as_source(given, ("value",))
    found = tuple(name for name, cells in columns.items() if name not in KEYS and not _is_of_numbers(cells))
    return as_source(given, found)


def _is_of_numbers(cells: Any) -> bool:
    """Whether the cells of a column that are there are numbers, as those of a label may be."""
    return getattr(cells, "ndim", 1) == 1 and all(
        cell is None or isinstance(cell, bool | int | float | np.number | np.bool_) for cell in cells
    )


def _columns(given: Any) -> Mapping[str, Any] | None:
    """Return the columns of a mapping or a data frame, or None when it is neither."""
    if isinstance(given, Mapping):
        return given
    if hasattr(given, "to_pydict"):  # pyarrow
        return given.to_pydict()
    if hasattr(given, "notna") and hasattr(given, "columns"):  # pandas
        return {str(name): _cells(given[name]) for name in given}
    if hasattr(given, "get_columns"):  # polars
        return {column.name: _cells(column) for column in given.get_columns()}
    return None


def _cells(given: Any) -> Any:
    """Return a column of pandas, polars or pyarrow as a list, None where a cell is missing; anything else as it is."""
    if hasattr(given, "notna") and not hasattr(given, "columns"):
        return given.astype(object).where(given.notna(), None).tolist()
    if hasattr(given, "to_pylist") and not hasattr(given, "to_pydict"):
        return given.to_pylist()
    return given.to_list() if hasattr(given, "to_list") else given


def _of_columns(columns: Mapping[str, Any], fields: Sequence[str]) -> Source:
    values = {name: columns[name] for name in fields if name in columns}
    if not values:
        raise DataError(
            f"The source has the columns {', '.join(map(str, columns)) or '(none)'}, and the recipe reads "
            f"{', '.join(fields)}: name one so, or set modalities.NAME.field."
        )
    return ArraysSource(values, **key_columns({n: c for n, c in columns.items() if n not in fields}))


def _is_dataset(given: Any, fields: Sequence[str]) -> bool:
    """Whether items are records rather than the values of a field."""
    if not isinstance(given, Sequence):
        return True  # a torch Dataset is no Sequence
    first = given[0] if len(given) else None
    return isinstance(first, tuple) or is_record(first, fields)


def _only(fields: Sequence[str], what: str) -> str:
    """Return the only field; several cannot come out of one array."""
    if len(set(fields)) != 1:
        raise DataError(
            f"source is {what}, and the recipe reads {len(fields)} fields: hand in a mapping "
            f"{{{', '.join(f'{name!r}: ...' for name in fields)}}}."
        )
    return fields[0]


def _shown(given: Any) -> str:
    """Return what an error calls an object: short ones as they are written."""
    text = repr(given)
    return text if len(text) < 80 else f"a {type(given).__name__}"
