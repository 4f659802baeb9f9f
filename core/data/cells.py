"""Columns of tables in one form, whatever file they come from, and the cells of them that no one can read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium.data.encodings import ADVICE, fault_of, marked_text
from sensorium.data.several import FILE

PLAIN = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
"""What holds the cells of views."""


def canonical(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column in the type that its cells are read in.

    Categories become their values, and decimals numbers. A whole number that has no room in 64 bits is a name, not a
    quantity: its column becomes text, so that no digit is lost; within a list, numbers are quantities, float64.
    """
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    column = without_views(column)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_uint64(kind) or (pa.types.is_decimal(kind) and kind.scale == 0):
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid:
            return column.cast(pa.string())
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64())
    if is_list(kind) and (pa.types.is_uint64(kind.value_type) or pa.types.is_decimal(kind.value_type)):
        return column.cast(pa.list_(pa.float64()))
    return column


def without_views(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column with plain text and bytes in place of views of them, of which Arrow takes no rows."""
    kind = _viewless(column.type)
    if kind == column.type:
        return column
    if pa.types.is_dictionary(kind):  # which Arrow casts by taking rows of its values
        chunks = [
            pa.DictionaryArray.from_arrays(c.indices, c.dictionary.cast(kind.value_type), ordered=kind.ordered)
            for c in column.chunks
        ]
        return pa.chunked_array(chunks, kind)
    return column.cast(kind)


def _viewless(kind: pa.DataType) -> pa.DataType:
    if kind in PLAIN:
        return PLAIN[kind]
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _viewless(kind.value_type), kind.ordered)
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_viewless(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_viewless(kind.key_type), _viewless(kind.item_type), kind.keys_sorted)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_viewless(kind.value_type)), kind.list_size)
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_viewless(kind.value_type)))
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_viewless(kind.value_type)))
    return kind


def is_list(kind: pa.DataType) -> bool:
    """Whether the cells of an Arrow type are lists."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether the cells of an Arrow type are text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def is_bytes(kind: pa.DataType) -> bool:
    """Whether the cells of an Arrow type are bytes."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def without_faults(column: pa.ChunkedArray, advice: str = ADVICE) -> tuple[pa.ChunkedArray, dict[int, str]]:
    """Return a column with a missing value for every unreadable cell, and the reasons by row.

    A cell is unreadable when a text in it is not Unicode, or holds NUL.

    Args:
        column: its text is not validated yet.
        advice: what to do about bytes that are no text.
    """
    if not _may_hold_text(column.type) or _is_clean(column):
        return column, {}
    reasons = {row: reason for row in range(len(column)) if (reason := _fault(column[row], advice)) is not None}
    return without(column, reasons), reasons


def without(column: pa.ChunkedArray, rows: Any) -> pa.ChunkedArray:
    """Return a column with a missing value in some rows."""
    index_N = np.arange(len(column))
    is_gone_N = np.zeros(len(column), bool)
    is_gone_N[list(rows)] = True
    return column.take(pa.array(index_N, mask=is_gone_N)) if len(rows) else column


def _may_hold_text(kind: pa.DataType) -> bool:
    if is_list(kind) or pa.types.is_map(kind):
        return _may_hold_text(kind.item_type if pa.types.is_map(kind) else kind.value_type)
    return is_text(kind) or (pa.types.is_struct(kind) and any(_may_hold_text(field.type) for field in kind))


def _is_clean(column: pa.ChunkedArray) -> bool:
    """Whether all text is Unicode and without NUL, as a scan of whole columns shows."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    texts = pc.list_flatten(column) if is_list(column.type) else column
    return not is_text(texts.type) or not pc.any(pc.match_substring(texts, "\0")).as_py()


def _fault(cell: pa.Scalar, advice: str) -> str | None:
    try:
        value = cell.as_py()
    except UnicodeDecodeError as error:
        value = marked_text(error.object)
    return next((reason for text in texts_in(value) if (reason := fault_of(text, advice)) is not None), None)


def texts_in(value: Any) -> Iterator[str]:
    """Yield the texts in a cell, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts_in(inner)


def without_structs(cell: Any) -> Any:
    """Return a cell with its bytes or else its path in place of each struct of both; None for an empty text or list."""
    if isinstance(cell, dict) and cell.keys() >= FILE:
        cell = cell["bytes"] or cell["path"]
    if isinstance(cell, str | bytes | list) and not cell:
        return None
    if isinstance(cell, list):
        return [without_structs(inner) if isinstance(inner, dict) else inner for inner in cell]
    return cell


def filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return which cells hold a value: neither null, nor empty text, bytes, list or file."""
    valid, kind = pc.is_valid(column), column.type
    if pa.types.is_struct(kind) and {field.name for field in kind} >= FILE:
        either = pc.or_(*(filled(pc.struct_field(column, name)) for name in sorted(FILE)))
        return pc.and_(valid, either)
    if is_list(kind):
        return pc.and_(valid, pc.fill_null(pc.greater(pc.list_value_length(column), 0), False))
    if is_text(kind) or (is_bytes(kind) and not pa.types.is_fixed_size_binary(kind)):
        return pc.and_(valid, pc.fill_null(pc.greater(pc.binary_length(column), 0), False))
    return valid
