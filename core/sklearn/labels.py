"""What estimators take as y: classes or numbers, of which some may be missing."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import assert_all_finite, column_or_1d

from sensorium.evaluation.labels import is_missing


def read_labels(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (N,), and which there are, bool (N,).

    Raises:
        ValueError: for none at all, for numbers that are not finite, and for numbers among words.
    """
    y_N = column_or_1d(_with_gaps(y), warn=True)
    known_N = np.array([not is_missing(cell) for cell in y_N.tolist()], bool)
    if not known_N.any():
        raise ValueError("y has no label.")
    if y_N.dtype == object:
        y_N = _of_one_type(y_N, known_N)
    assert_all_finite(y_N[known_N], input_name="y")
    return y_N, known_N


def _with_gaps(y: Any) -> Any:
    """Return a list of which NumPy would make words of all cells as an array of objects; anything else as it is."""
    if not isinstance(y, list | tuple) or not any(isinstance(cell, str) for cell in y):
        return y
    return y if all(isinstance(cell, str) for cell in y) else np.array(y, object)


def _of_one_type(y_N: np.ndarray, known_N: np.ndarray) -> np.ndarray:
    """Return objects as numbers where they are, with zeros in place of those that are missing."""
    cells = y_N[known_N].tolist()
    words = sum(isinstance(cell, str) for cell in cells)
    if 0 < words < len(cells):
        raise ValueError("y mixes numbers and words: write every class as a word, or as a number.")
    typed = np.array(cells)
    if typed.dtype.kind not in "iufb":
        return y_N
    whole = np.zeros(len(y_N), typed.dtype)
    whole[known_N] = typed
    return whole
