"""Reading a feature table: which modality, which label column, and which records have both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.errors import SensoriumError, not_found
from sensorium.feature_table import FeatureTable


def is_missing(value: Any) -> bool:
    """Return whether a label is missing: None, nan of any precision, or `NA` or `NaT` of pandas."""
    if isinstance(value, float | np.floating):
        return bool(value != value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def is_continuous(values: Iterable[Any]) -> bool:
    """Return whether a label is a number with a fraction."""
    return any(isinstance(value, float) and not is_missing(value) and not value.is_integer() for value in values)


def choose_column(what: str, name: str | None, known: Sequence[str], key: str | None = None) -> str:
    """Return the named column, or the only one if no name is given.

    Args:
        what: "modality" or "label".
        name: of the column.
        known: what there is.
        key: of the recipe that names it; None is the evaluator's option `what`.

    Raises:
        SensoriumError: when it is unknown, or no name is given and there is not exactly one.
    """
    listed = ", ".join(known) or "none"
    if name is not None:
        if name in known:
            return name
        raise SensoriumError(not_found(f"The records have no {what} '{name}'", name, known, f"there are: {listed}"))
    if len(known) != 1:
        if key is not None:
            raise SensoriumError(f"Name the {what} by {key}=NAME; the run has: {listed}.")
        raise SensoriumError(f"Name the {what} to evaluate by the option '{what}'; the records have: {listed}.")
    return known[0]


@dataclass
class Labeled:
    """The records of a table that have both a value and a label.

    Args:
        x_ND: float32 features of one modality.
        rows_N: int64, their rows in the table.
        values: N labels, as recorded.
        groups: N group names.
        label: name of the label column.
        excluded: how many records of the table lack the value or the label.
    """

    x_ND: np.ndarray
    rows_N: np.ndarray
    values: list[Any]
    groups: list[str]
    label: str
    excluded: int


def labeled(table: FeatureTable, label: str | None, modality: str | None) -> Labeled:
    """Return the records that have the modality and the label.

    Raises:
        SensoriumError: when there is no such column, or no such record.
    """
    modality = choose_column("modality", modality, list(table.features))
    label = choose_column("label", label, list(table.labels))
    values = table.labels[label].tolist()
    rows = np.array([r for r, v in enumerate(values) if table.present[modality][r] and not is_missing(v)], np.int64)
    if not len(rows):
        raise SensoriumError(
            f"None of the {len(table)} records of the part has both '{modality}' and the label '{label}': "
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


def labeled_or_none(table: FeatureTable, label: str | None, modality: str | None) -> Labeled | None:
    """Return the records that have the modality and the label, None where there are none; as `labeled`."""
    names = (label, list(table.labels)), (modality, list(table.features))
    if not all(name in known if name is not None else len(known) == 1 for name, known in names):
        return None
    label, modality = (known[0] if name is None else name for name, known in names)
    present_N = table.present[modality]
    some = any(present_N[row] and not is_missing(value) for row, value in enumerate(table.labels[label].tolist()))
    return labeled(table, label, modality) if some else None


def is_number(value: Any) -> bool:
    """Whether a cell is a number, or text that reads as one."""
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def not_numeric(values: Iterable[Any]) -> Any:
    """Return the first value that is no number, None without one.

    In a column that one cell makes text, all are text: what reads as a number counts as one.
    """
    return next((value for value in values if not is_number(value)), None)


def numeric_labels(part: Labeled) -> np.ndarray:
    """Return the labels as float64 (N,).

    Raises:
        SensoriumError: when one of them is not a number.
    """
    if (value := not_numeric(part.values)) is not None:
        words = sum(not is_number(cell) for cell in part.values)
        remedy = (
            f"{words:,} of {len(part.values):,} cells are none: write numbers there, or leave those cells empty"
            if 2 * words <= len(part.values)
            else "use a classifier for it ('linear', 'forest' with task=classification, finetune.task=classification) "
            "or repair the column"
        )
        raise SensoriumError(f"The label '{part.label}' has the value {value!r}, which is not a number: {remedy}.")
    return np.array([float(value) for value in part.values], np.float64)


def modality_pair(table: FeatureTable, first: str | None, second: str | None) -> tuple[str, str]:
    """Return the names of two modalities: those given, or else the first two of the table.

    Raises:
        SensoriumError: when only one is given or present, or the widths of their embeddings differ.
    """
    known = list(table.features)
    if first is None and second is None:
        if len(known) < 2:
            raise SensoriumError(f"Two modalities are needed, but the records have: {', '.join(known) or 'none'}.")
        first, second = known[:2]
    elif first is None or second is None or first == second:
        raise SensoriumError("Name two different modalities, or none to take the first two of the recipe.")
    for name in (first, second):
        if name not in known:
            problem = f"There are no features of '{name}' to compare"
            raise SensoriumError(not_found(problem, name, known, f"there are some of: {', '.join(known) or 'none'}"))
    widths = table.features[first].shape[1], table.features[second].shape[1]
    if widths[0] != widths[1]:
        raise SensoriumError(
            f"'{first}' (width {widths[0]}) and '{second}' (width {widths[1]}) have no joint embedding space: "
            "train them together by a cross-modal objective."
        )
    return first, second


def count_records(count: int) -> str:
    """Return "1 record" or "n records"."""
    return f"{count} record" + "s" * (count != 1)
