"""Fine-tuning on few labels: which records of the train part keep their labels.

Every draw is a function of (seed, record id), so that all rows of a table, and a later table, learn from the same
records. Letters: N records of the train part, M that are drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa

from sensorium.contracts import RecordColumns, Source
from sensorium.evaluation.features import label_columns
from sensorium.evaluation.labels import is_missing
from sensorium.recipe.schema import Finetune
from sensorium.seeding import uniform_of, uniforms_of

T = TypeVar("T")


@dataclass(frozen=True)
class LabeledKeys:
    """The labeled records of the train part, before anything is decoded.

    Args:
        positions: where the source has them, int64 (N,), ascending.
        ids: their ids.
        labels: label column -> object array (N,), None or nan where a record has none.
    """

    positions: np.ndarray
    ids: list[str]
    labels: dict[str, np.ndarray]

    def without(self, positions: np.ndarray) -> LabeledKeys:
        """Return all but the records at some positions, int64 (M,)."""
        rows = np.flatnonzero(~np.isin(self.positions, positions))
        labels = {name: cells_N[rows] for name, cells_N in self.labels.items()}
        return LabeledKeys(self.positions[rows], [self.ids[row] for row in rows], labels)


def read_labeled_keys(
    source: Source, columns: RecordColumns, train: np.ndarray, field: str, names: Sequence[str]
) -> LabeledKeys:
    """Return the records at positions `train` that have a label and, as far as the source knows, the field's value."""
    present_N = source.present(field)
    positions = train if present_N is None else train[present_N[train]]
    read = columns.take(positions)
    labels = label_columns(read, names)
    rows = np.zeros(len(read), bool)
    for cells_N in labels.values():
        rows |= np.array([not is_missing(cell) for cell in cells_N], bool)
    ids = read.ids_at(np.flatnonzero(rows))
    return LabeledKeys(positions[rows], ids, {name: cells_N[rows] for name, cells_N in labels.items()})


def label_amounts(options: Finetune) -> dict[str, Finetune]:
    """Return the options of each amount of labels that the recipe asks for, by its name, such as "10 per class".

    One without a list is the only one, and has the name "".
    """
    per_class, fractions = options.labels_per_class, options.label_fraction
    if not isinstance(per_class, list) and not isinstance(fractions, list):
        return {"": options}
    found = {f"{count} per class": (count, None) for count in sorted(_listed(per_class))}
    found |= {f"{100 * f:.4g} %" if f < 1 else "all": (None, f) for f in sorted(_listed(fractions))}
    return {
        name: options.model_copy(update={"labels_per_class": count, "label_fraction": fraction})
        for name, (count, fraction) in found.items()
    }


def _listed(value: T | list[T] | None) -> list[T]:
    return [] if value is None else value if isinstance(value, list) else [value]


def draws_labels(options: Finetune) -> bool:
    """Return whether the recipe asks for a part of the labels."""
    return options.label_fraction is not None or options.labels_per_class is not None


def draw_labeled(keys: LabeledKeys, options: Finetune, seed: int) -> np.ndarray:
    """Return the positions of the records whose labels are used, int64 (M,), ascending; all without an option for it.

    Args:
        keys: the labeled records.
        options: its `label_fraction` or `labels_per_class`, one amount.
        seed: another seed draws other records.
    """
    if not draws_labels(options):
        return keys.positions
    uniform_N = uniforms_of("finetune labels", seed, texts=pa.array(keys.ids, pa.large_string()))
    shuffled = np.argsort(uniform_N, kind="stable")
    if isinstance(options.label_fraction, float):
        rows = _stratified(shuffled, keys.labels, options.label_fraction, uniform_of("finetune labels", seed))
    else:
        assert isinstance(options.labels_per_class, int), "one of the two is given"
        rows = _of_each_class(shuffled, keys.labels, options.labels_per_class)
    return keys.positions[np.sort(rows)]


def _stratified(shuffled: np.ndarray, labels: Mapping[str, np.ndarray], fraction: float, offset: float) -> np.ndarray:
    """Return every 1/fraction-th record in the order of the labels, so that each class, or range, has its fraction."""
    values = [tuple(column[row] for column in labels.values()) for row in shuffled]
    order = sorted(range(len(shuffled)), key=lambda at: tuple(map(_sort_key, values[at])))
    count = max(1, round(fraction * len(shuffled)))
    steps = ((np.arange(count) + offset) * (len(shuffled) / count)).astype(np.int64)
    return shuffled[np.array(order)[steps]]


def _sort_key(value: object) -> tuple[bool, float, str]:
    if is_missing(value):
        return True, 0.0, ""
    return (False, float(value), "") if isinstance(value, int | float) else (False, 0.0, str(value))


def _of_each_class(shuffled: np.ndarray, labels: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """Return records, in order, until every class of every column has `count`, or all that there are."""
    drawn: list[int] = []
    counts: Counter[tuple[str, object]] = Counter()
    for row in shuffled.tolist():
        classes = [(name, column[row]) for name, column in labels.items() if not is_missing(column[row])]
        if any(counts[of_column] < count for of_column in classes):
            counts.update(classes)
            drawn.append(row)
    return np.array(drawn, np.int64)
