"""The names that the numbers of a label stand for."""

from __future__ import annotations

from sensorium.errors import DataError


def class_name(names: list[str], number: object, value: object, label: str, place: str) -> str:
    """Return the name that a number stands for.

    Args:
        names: of 0, 1, 2 ...
        number: what is asked for.
        value: how the data has it, for the error.
        label: whose value it is, likewise.
        place: the table or file that has it, likewise.

    Raises:
        DataError: when it is no number that has a name.
    """
    if isinstance(number, int) and 0 <= number < len(names):
        return names[number]
    raise DataError(
        f"The label '{label}' of {place} has the value {value!r}, "
        f"but data.source.classes names {len(names)} classes, 0 to {len(names) - 1}."
    )
