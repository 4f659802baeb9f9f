"""What estimators take as X: rows of numbers, values such as paths and texts, or the columns of a data frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np
from sklearn.utils.validation import _check_n_features, _num_samples, validate_data


def read_records(estimator: Any, X: Any, fields: Sequence[str], fitting: bool) -> dict[str, Any]:
    """Return the values of N records by field, after the checks of scikit-learn.

    Args:
        estimator: whose `n_features_in_` and `feature_names_in_` are set, or compared.
        X: numbers, (N, D) or with further axes, each row the value of the only field; a list, a series or an array
            (N,) of values of another kind: paths, texts, bytes, images, arrays of several lengths; or a data frame,
            with a column of the name of each field, of a single column, or of numbers alone.
        fields: that the recipe reads.
        fitting: whether this is `fit`.

    Raises:
        ValueError: for numbers of a wrong shape, or columns that there are not.
        TypeError: for what is no array, such as a sparse matrix.
    """
    columns = _columns(X, fields)
    if columns is not None:
        _check_n_features(estimator, np.empty((_num_samples(X), len(columns))), reset=fitting)
        return columns
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


def _columns(X: Any, fields: Sequence[str]) -> dict[str, list[Any]] | None:
    """Return the values of each field, where they are no rows of numbers."""
    if isinstance(X, Mapping) or hasattr(X, "columns"):
        there = {str(name): name for name in X} if isinstance(X, Mapping) else {str(name): name for name in X.columns}
        if all(field in there for field in fields):
            return {field: list(X[there[field]]) for field in fields}
        if len(there) == 1 and len(fields) == 1 and _are_values(list(X[next(iter(there.values()))])):
            return {fields[0]: list(X[next(iter(there.values()))])}
        return None
    is_row = hasattr(X, "ndim") and X.ndim != 1
    if is_row or not hasattr(X, "__len__") or not hasattr(X, "__getitem__") or isinstance(X, str | bytes):
        return None
    return {fields[0]: list(X)} if len(X) and _are_values(list(X)) and len(fields) == 1 else None


def _are_values(cells: Sequence[Any]) -> bool:
    """Return whether each is a value of its own: no number, and no row of numbers of one length."""
    first = cells[0]
    if isinstance(first, Number | np.generic) or first is None:
        return False
    if hasattr(first, "shape"):
        return len({np.shape(cell) for cell in cells}) > 1
    if isinstance(first, list | tuple):
        return len({len(cell) for cell in cells}) > 1
    return True
