"""Class names for integer labels."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from sensorium.contracts.record_columns import Column
from sensorium.errors import DataError


def class_name(names: list[str], number: object, value: object, label: str, owner: str) -> str:
    """Return the class name of an integer label.

    Args:
        names: the class names, by index.
        number: the index.
        value: the value in the data, for the error.
        label: the name of the label, for the error.
        owner: the table or file, for the error.

    Raises:
        DataError: when `number` is no index of a class name.
    """
    if isinstance(number, int) and 0 <= number < len(names):
        return names[number]
    raise DataError(
        f"The label '{label}' of {owner} has the value {value!r}, "
        f"but data.source.classes names {len(names)} classes, 0 to {len(names) - 1}."
    )


def named(cells: pa.ChunkedArray, classes: Sequence[str], name: str, title: str) -> Column:
    """Return class names in place of their indices, of which -1 is no class.

    Args:
        cells: the indices, integers (N,).
        classes: the names, by index.
        name: of the column or label, for errors.
        title: the store, for errors.

    Raises:
        DataError: when a cell is no index of a class.
    """
    if not pa.types.is_integer(cells.type):
        value = next((cell for cell in cells.to_pylist() if cell is not None), None)
        if value is not None:
            class_name(list(classes), value, value, name, title)
    cells = cells.cast(pa.int64()).combine_chunks()
    cells = pc.if_else(pc.equal(cells, -1), pa.scalar(None, pa.int64()), cells)
    wrong = cells.filter(pc.or_(pc.less(cells, 0), pc.greater_equal(cells, len(classes))))
    if len(wrong):
        class_name(list(classes), wrong[0].as_py(), wrong[0].as_py(), name, title)
    return pa.array(list(classes), pa.string()).take(cells)
