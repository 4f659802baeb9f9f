"""Checks of what a loss is called with: shapes and Python numbers, so that no call waits for a device."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sensorium.errors import SensoriumError, not_found


def check_pairs(x: Tensor, y: Tensor) -> None:
    """Raise unless two tensors hold as many rows of one width, the row of each at the same index its pair.

    Args:
        x: (B, D).
        y: (B, D).

    Raises:
        SensoriumError: for other shapes, which torch may join by broadcasting.
    """
    if x.ndim != 2 or x.shape != y.shape:
        raise SensoriumError(
            f"The loss compares pairs of rows, and was given tensors of shapes {tuple(x.shape)} and {tuple(y.shape)}: "
            "hand in two of one shape (B, D)."
        )


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise for a word that a loss does not know.

    Args:
        name: of the argument, such as "measure".
        value: what was given.
        choices: the words that it knows.

    Raises:
        SensoriumError: when the word is none of them.
    """
    if value not in choices:
        problem = f"The loss was given {name}={value!r}"
        raise SensoriumError(not_found(problem, str(value), choices, f"its {name} is one of {', '.join(choices)}"))


def check_positive(name: str, value: Tensor | float) -> None:
    """Raise where a number that must be > 0 is not; the value of a tensor is not read.

    Args:
        name: of the argument, such as "temperature".
        value: a number, or a scalar tensor.

    Raises:
        SensoriumError: for a number that is not above 0.
    """
    if not isinstance(value, Tensor) and not value > 0:
        raise SensoriumError(f"The loss was given {name}={value}, and its {name} is a number above 0.")
