"""A source of graphs in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sensorium import OpenedAgain, Record, RecordColumns, Unreadable
from sensorium.errors import DataError
from sensorium.modalities.graph.batch import Graph


@dataclass
class GraphRecord:
    """One graph of a data set.

    Args:
        id: unique in its source.
        graph: with its raw features, or why it cannot be read.
        labels: targets of evaluators, by name.
        split: "train", "val", "test" or None.
    """

    id: str
    graph: Graph | Unreadable
    labels: dict[str, Any] = field(default_factory=dict)
    split: str | None = None


class GraphSource(OpenedAgain):
    """Graphs in memory.

    Args:
        graphs: the records, in order.
        name: field name of the graph in the records.
        of: where the graphs are from, for errors.
    """

    def __init__(self, graphs: Sequence[GraphRecord], name: str, of: str) -> None:
        if not graphs:
            raise DataError(f"{of} has no graphs.")
        self._graphs, self._field = graphs, name

    @property
    def fields(self) -> tuple[str, ...]:
        """The field name of the graph."""
        return (self._field,)

    def __len__(self) -> int:
        return len(self._graphs)

    def columns(self) -> RecordColumns:
        """Return ids, labels and splits of all graphs."""
        return self._columns

    @cached_property
    def _columns(self) -> RecordColumns:
        return RecordColumns.of_keys([Record(one.id, {}, one.labels, one.split) for one in self._graphs])

    def __getitem__(self, index: int) -> Record:
        one = self._graphs[index]
        return Record(one.id, {self._field: one.graph}, dict(one.labels), one.split)
