"""Class names for integer labels."""

from __future__ import annotations

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
