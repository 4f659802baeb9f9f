"""Reading a feature table: which modality, which label, and which records have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.contracts import FeatureTable
from sensorium.errors import SensoriumError, did_you_mean


def is_missing(value: Any) -> bool:
    """Return whether a label is absent: None or nan."""
    return value is None or (isinstance(value, float) and value != value)


def choose(what: str, wanted: str | None, known: Sequence[str]) -> str:
    """Return the wanted column, or the only one when none is named.

    Raises:
        SensoriumError: when it is unknown, or unnamed among several or none.
    """
    listed = ", ".join(known) or "none"
    if wanted is not None:
        if wanted in known:
            return wanted
        raise SensoriumError(
            f"The records carry no {what} '{wanted}'{did_you_mean(wanted, known)}; there are: {listed}."
        )
    if len(known) != 1:
        raise SensoriumError(f"Name the {what} to evaluate by the option '{what}'; the records carry: {listed}.")
    return known[0]


@dataclass
class Labeled:
    """The records of a table that have both a value and a label.

    Args:
        x_ND: float32 features of one modality.
        rows_N: int64, which rows of the table they are.
        values: N labels, as they were recorded.
        groups: N group names.
        label: name of the label column.
        left_out: how many records of the table lack the value or the label.
    """

    x_ND: np.ndarray
    rows_N: np.ndarray
    values: list[Any]
    groups: list[str]
    label: str
    left_out: int


def labeled(table: FeatureTable, label: str | None, modality: str | None) -> Labeled:
    """Return the records that have the modality and the label.

    Raises:
        SensoriumError: when there is no such column, or no such record.
    """
    modality = choose("modality", modality, list(table.features))
    label = choose("label", label, list(table.labels))
    values = table.labels[label].tolist()
    rows = np.array([r for r, v in enumerate(values) if table.present[modality][r] and not is_missing(v)], np.int64)
    if not len(rows):
        raise SensoriumError(
            f"None of the {len(table)} records of a part has both '{modality}' and the label '{label}': "
            "check the source's label columns and the split."
        )
    return Labeled(
        table.features[modality][rows],
        rows,
        [values[row] for row in rows],
        [table.groups[row] for row in rows],
        label,
        len(table) - len(rows),
    )


def numbers(part: Labeled) -> np.ndarray:
    """Return the labels as float64 (N,).

    Raises:
        SensoriumError: when one of them is no number.
    """
    for value in part.values:
        if not isinstance(value, (int, float)):
            raise SensoriumError(
                f"The label '{part.label}' holds {value!r}, which is no number: measure it by a classifier."
            )
    return np.array(part.values, np.float64)


def pair(table: FeatureTable, first: str | None, second: str | None) -> tuple[str, str]:
    """Return the names of two modalities: those named, or else the first two of the table.

    Raises:
        SensoriumError: when only one is named or present, or the two lie in spaces of different width.
    """
    known = list(table.features)
    if first is None and second is None:
        if len(known) < 2:
            raise SensoriumError(f"Comparing two modalities needs two, the records have: {', '.join(known) or 'none'}.")
        first, second = known[:2]
    elif first is None or second is None or first == second:
        raise SensoriumError("Name two different modalities, or none to take the first two of the recipe.")
    first, second = choose("modality", first, known), choose("modality", second, known)
    widths = table.features[first].shape[1], table.features[second].shape[1]
    if widths[0] != widths[1]:
        raise SensoriumError(
            f"'{first}' ({widths[0]} wide) and '{second}' ({widths[1]} wide) share no space in which to be compared: "
            "train them together by a cross-modal objective."
        )
    return first, second


def records(count: int) -> str:
    """Return "1 record" or "n records"."""
    return f"{count} record" + "s" * (count != 1)
