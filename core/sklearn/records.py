"""What estimators take as X: rows of numbers, values such as paths and texts, or the columns of a data frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import _check_feature_names, _check_n_features, validate_data

from sensorium.evaluation.labels import is_missing

NUMBERS = "iufcb"
"""The kinds of NumPy's types of numbers."""


def read_records(estimator: Any, X: Any, fields: Sequence[str], fitting: bool) -> dict[str, Any]:
    """Return the values of N records by field, None where there is none, after the checks of scikit-learn.

    Args:
        estimator: whose `n_features_in_` and `feature_names_in_` are set, or compared.
        X: numbers, (N, D) or with further axes, each row the value of the only field; a list, a series or an array
            (N,) or (N, 1) of values of another kind: paths, texts, bytes, images, arrays of several lengths, or of one
            in a series; or a data frame, with a column of the name of each field, of a single column, or of numbers
            alone.
        fields: that the recipe reads.
        fitting: whether this is `fit`.

    Raises:
        ValueError: for numbers of a wrong shape, or columns that there are not.
        TypeError: for what is no array, such as a sparse matrix.
    """
    is_frame = isinstance(X, Mapping) or hasattr(X, "columns")
    if is_frame and not issparse(X):  # of whose formats one is a mapping
        columns = _of_frame(estimator, X, fields, fitting)
        if columns is not None:
            return columns
    elif len(fields) == 1 and _is_list(X := _flat(X)):
        cells = without_missing(X)
        if fitting and all(cell is None for cell in cells):
            raise ValueError(f"X has no value of '{fields[0]}': every record lacks it.")
        if _holds_values(estimator, X, fitting):
            count = _width(cells) if fitting or not _took_values(estimator) else 1
            _check_names_and_count(estimator, X, count, fitting)
            return {fields[0]: cells}
    if len(fields) > 1:
        raise ValueError(f"The recipe reads the fields {', '.join(fields)}: X is a data frame with these columns.")
    rows = validate_data(
        estimator,
        X,
        reset=fitting,
        dtype="numeric",
        ensure_all_finite="allow-nan",
        allow_nd=True,
        ensure_min_samples=2 if fitting else 1,
        ensure_min_features=2 if fitting else 1,
    )
    return {fields[0]: rows}


def require_values(values: Mapping[str, Sequence[Any]], rows: Iterable[int] | None = None) -> None:
    """Raise an error where a record, or one of some rows, lacks a value.

    Raises:
        ValueError: which names the first.
    """
    for row in range(len(next(iter(values.values())))) if rows is None else rows:
        for field, cells in values.items():
            if cells[row] is None:
                raise ValueError(f"X is not complete: record {row} has no value of '{field}'; leave such records out.")


def has_value(values: Mapping[str, Sequence[Any]]) -> np.ndarray:
    """Return which records have a value of any field, bool (N,)."""
    return np.array([any(cell is not None for cell in cells) for cells in zip(*values.values(), strict=True)], bool)


def without_missing(cells: Iterable[Any]) -> list[Any]:
    """Return cells with None in place of nan, and of what pandas has for a missing cell."""
    return [None if is_missing(cell) else cell for cell in cells]


def _of_frame(estimator: Any, X: Any, fields: Sequence[str], fitting: bool) -> dict[str, list[Any]] | None:
    """Return the values of each field out of a frame or a mapping, or None where its columns are numbers alone."""
    there = {str(name): name for name in (X if isinstance(X, Mapping) else X.columns)}
    names = [there[field] for field in fields if field in there]
    if len(names) < len(fields):
        names = list(there.values())
        if not fitting and hasattr(estimator, "feature_names_in_"):
            _check_feature_names(estimator, X, reset=False)
        if len(fields) == 1 and not any(_holds_values(estimator, X[name], fitting) for name in names):
            return None
        if len(fields) > 1 or len(names) > 1:
            raise ValueError(_lacking(fields, list(there)))
    used = X if isinstance(X, Mapping) or len(names) == len(there) == 1 else X[names]
    _check_names_and_count(estimator, used, len(names), fitting)
    return {field: without_missing(X[name]) for field, name in zip(fields, names, strict=True)}


def _lacking(fields: Sequence[str], there: Sequence[str]) -> str:
    columns = f"column{'s' * (len(fields) > 1)} {', '.join(repr(field) for field in fields)}"
    return f"The recipe reads the {columns}; the frame has {', '.join(there)}."


def _check_names_and_count(estimator: Any, X: Any, count: int, fitting: bool) -> None:
    _check_feature_names(estimator, X, reset=fitting)
    _check_n_features(estimator, np.empty((1, count)), reset=fitting)


def _flat(X: Any) -> Any:
    """Return an array of one column of objects, or words, as scikit-learn's transformers hand it on, with one axis."""
    is_column = isinstance(X, np.ndarray) and X.ndim == 2 and X.shape[1] == 1
    return X[:, 0] if is_column and X.dtype.kind not in NUMBERS else X


def _is_list(X: Any) -> bool:
    """Return whether X is a list, or anything with one axis."""
    if isinstance(X, str | bytes) or getattr(X, "ndim", 1) != 1:
        return False
    return hasattr(X, "__len__") and hasattr(X, "__getitem__") and len(X) > 0


def _holds_values(estimator: Any, column: Any, fitting: bool) -> bool:
    """Return whether each cell is a value of its own, as those are that an estimator was fitted on."""
    if getattr(getattr(column, "dtype", None), "kind", "O") in NUMBERS:
        return False
    cells = without_missing(column)
    if _are_values(cells) or (hasattr(column, "dtype") and any(_shape(cell) for cell in cells)):
        return True  # a column of arrays is one of values whatever their lengths: NumPy makes no rows of it
    return not fitting and _took_values(estimator) and not any(isinstance(cell, Number) for cell in cells)


def _took_values(estimator: Any) -> bool:
    """Return whether an estimator was fitted on one value a record: rows of numbers have two or more."""
    return getattr(estimator, "n_features_in_", 0) == 1


def _are_values(cells: Sequence[Any]) -> bool:
    """Return whether each is a value of its own: no number, and no row of numbers of one length."""
    there = [cell for cell in cells if cell is not None]
    if not there or isinstance(there[0], str | bytes):
        return bool(there)
    if isinstance(there[0], Number | np.generic):
        return False
    shapes = {_shape(cell) for cell in there}
    return shapes == {None} or len(shapes) > 1 or len(there) < len(cells)


def _shape(cell: Any) -> tuple[int, ...] | None:
    """Return the shape of an array, or of a list of numbers; None of any other value, such as samples with a rate."""
    if hasattr(cell, "shape"):
        return tuple(cell.shape)
    if not isinstance(cell, list | tuple):
        return None
    try:
        return np.asarray(cell, np.float64).shape  # None in it is nan
    except (TypeError, ValueError):
        return None


def _width(cells: Sequence[Any]) -> int:
    """Return the length of arrays of one shape; 1 for all other values."""
    shapes = {_shape(cell) for cell in cells if cell is not None}
    return (shapes.pop() or (1,))[0] if len(shapes) == 1 else 1
