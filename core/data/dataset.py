"""A torch `Dataset`, or any other sequence of items, as a source."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensorium.contracts import RecordColumns, Source
from sensorium.data.arrays import ArraysSource
from sensorium.errors import DataError
from sensorium.types import Record

log = logging.getLogger("sensorium")
KEYS = ("id", "split", "group")
"""Names of a record's own properties, among the keys of an item and the columns of a table."""
LABEL = "label"
"""The name of the label of an item that is a tuple."""


class DatasetSource(Source):
    """Items of a dataset as records; values are read when they are asked for, labels once.

    An item is a mapping, whose keys are fields, `id`, `split`, `group` and labels, or a named tuple or a dataclass with
    such names; or a tuple, whose first elements are the fields in order and the next, if there is one, the label
    "label"; or the value of the only field. Labels come
    from the dataset's columns (Hugging Face), or its `targets` (torchvision); otherwise every item is read once for
    them. Augmentation is the views' part: give a dataset without random transforms.

    Args:
        dataset: items by position: `len(dataset)`, `dataset[i]`.
        fields: the fields that a recipe reads, in its order.

    Raises:
        DataError: when the dataset has no items or no length, or its first item has no field.
    """

    def __init__(self, dataset: Any, fields: Sequence[str]) -> None:
        self._dataset, self._names = dataset, tuple(fields)
        self._kind = type(dataset).__name__
        if not len(dataset):
            raise DataError(f"The {self._kind} that was given as source has no items.")
        first = dataset[0]
        values, others = self._parted(first)
        if not is_record(first, self._names):
            self._names = self._names[: len(values)]
        self._keys = ArraysSource({"item": range(len(dataset))}, **self._columns(others))

    def _parted(self, item: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the values and the other properties of an item."""
        if is_record(item, self._names):
            item = _named(item)
            if not any(name in item for name in self._names):
                raise DataError(
                    f"The items of {self._kind} have the keys {', '.join(map(str, item))}, and the recipe reads "
                    f"{', '.join(self._names)}: name one so, or set modalities.NAME.field."
                )
            values = {name: item[name] for name in self._names if name in item}
            return values, {name: value for name, value in item.items() if name not in values}
        elements = item if isinstance(item, tuple) else (item,)
        if len(elements) > len(self._names) + 1:
            raise DataError(
                f"The items of {self._kind} are tuples of {len(elements)}; the recipe reads {', '.join(self._names)}, "
                "and one label may follow: let the items be mappings."
            )
        values = dict(zip(self._names, elements, strict=False))
        return values, dict(zip((LABEL,), elements[len(self._names) :], strict=False))

    def _columns(self, first: Mapping[str, Any]) -> dict[str, Any]:
        """Return ids, splits, groups and labels of all items, as `ArraysSource` takes them."""
        columns = {name: self._column(name) for name in first}
        if any(column is None for column in columns.values()):
            log.info("reading the labels of %s items of %s once", f"{len(self._dataset):,}", self._kind)
            rows = [self._parted(self._dataset[i])[1] for i in range(len(self._dataset))]
            columns = {name: [row.get(name) for row in rows] for name in dict.fromkeys(n for row in rows for n in row)}
        return key_columns({name: column for name, column in columns.items() if column is not None})

    def _column(self, name: str) -> Sequence[Any] | None:
        """Return one property of all items without reading their values, or None where the dataset has no way."""
        if name in getattr(self._dataset, "column_names", ()):  # of Hugging Face
            column = list(self._dataset[name])
            classes = getattr(self._dataset.features[name], "names", None)
            return column if classes is None else [None if cell in (None, -1) else classes[cell] for cell in column]
        targets = getattr(self._dataset, "targets", None) if name == LABEL else None
        return targets if targets is not None and len(targets) == len(self._dataset) else None

    @property
    def fields(self) -> tuple[str, ...]:
        """The recipe's fields; of items that are tuples, as many as they have."""
        return self._names

    def __len__(self) -> int:
        return len(self._keys)

    def columns(self) -> RecordColumns:
        """Return ids, labels, splits and groups of all records."""
        return self._keys.columns()

    def __getitem__(self, index: int) -> Record:
        key = self.key(index)
        return Record(key.id, self._parted(self._dataset[index])[0], key.labels, key.split, key.group)


def is_record(item: Any, fields: Sequence[str]) -> bool:
    """Whether an item names its fields: a mapping; a named tuple or a dataclass that has one of them."""
    if isinstance(item, Mapping):
        return not is_file(item)
    named = getattr(item, "_fields", ()) if isinstance(item, tuple) else _fields_of(item)
    return any(name in named for name in fields)


def _fields_of(item: Any) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(item)) if dataclasses.is_dataclass(item) else ()


def _named(item: Any) -> Mapping[str, Any]:
    """Return a record as a mapping."""
    if isinstance(item, Mapping):
        return item
    names = getattr(item, "_fields", None) or _fields_of(item)
    return {name: getattr(item, name) for name in names}


def is_file(value: Any) -> bool:
    """Whether a value is a file as Hugging Face datasets write it: a mapping of `bytes` or `path`."""
    return isinstance(value, Mapping) and bool(value) and value.keys() <= {"bytes", "path"}


def key_columns(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return columns as `ArraysSource` takes ids, splits, groups and labels; those of other names are labels.

    Raises:
        DataError: for a label that is neither a number nor a string.
    """
    own = {name: _plain(name, columns[name]) for name in KEYS if name in columns}
    labels = {name: _plain(name, column) for name, column in columns.items() if name not in KEYS}
    return {"labels": labels, **{f"{name}s": column for name, column in own.items()}}


def _plain(name: str, column: Any) -> list[Any]:
    """Return a column as numbers and strings, None for a missing one."""
    cells = column.tolist() if hasattr(column, "tolist") else [_item(cell) for cell in column]
    for row, cell in enumerate(cells):
        if not isinstance(cell, str | int | float | bool | None):
            raise DataError(
                f"No modality of the recipe reads '{name}', so it would be a label, but in row {row} it is of type "
                f"{type(cell).__name__}: leave it out, or name it by modalities.NAME.field."
            )
    return [None if isinstance(cell, float) and np.isnan(cell) else cell for cell in cells]


def _item(cell: Any) -> Any:
    """Return a number out of a scalar of NumPy or torch, anything else as it is."""
    return cell.item() if hasattr(cell, "item") and getattr(cell, "ndim", 1) == 0 else cell
