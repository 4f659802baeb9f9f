"""The stratified split: each class has its fraction in each part."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium.contracts import Split
from sensorium.contracts.record_columns import numbered
from sensorium.data.splits.parts import TEST, TRAIN, VAL, Groups
from sensorium.errors import DataError
from sensorium.seeding import uniforms_of


class Stratified(Split):
    """A random split of the groups of each class, so that a rare class is in every part; what the source names does not
    count.

    A class of G groups has round(f G) of them in a part of fraction f, at least one where it has three groups or more.
    A group belongs to the class of its first record.

    Args:
        by: the label column with the classes; records without a label are a class of their own.
    """

    def __init__(self, by: str) -> None:
        self.by = by

    def assign(self, source, fractions, seed):
        """Return the parts as numbers, int8 (N,)."""
        columns = source.columns()
        groups, labels = Groups(columns), columns.labels.get(self.by)
        if labels is None or labels.null_count == len(labels):
            raise DataError(
                f"No record has the label '{self.by}', by which the split 'stratified' divides: correct data.split.by."
            )
        if pa.types.is_floating(labels.type):
            labels = pc.if_else(pc.is_nan(labels), pa.scalar(None, labels.type), labels)
        class_G = groups.of_first(numbered(labels)[1], np.arange(len(columns)))
        order_G = np.lexsort((uniforms_of(seed, "split", texts=groups.names), class_G))
        part_G = np.full(len(groups), TRAIN, np.int8)
        for of_class in np.split(order_G, np.flatnonzero(np.diff(class_G[order_G])) + 1):
            first = 0
            for part, fraction in ((TEST, fractions.get("test", 0.0)), (VAL, fractions.get("val", 0.0))):
                count = max(round(fraction * len(of_class)), int(fraction > 0 and len(of_class) >= 3))
                part_G[of_class[first : first + count]] = part
                first += count
        return part_G[groups.number_N]
