"""Graphs in memory as records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sensorium import Record, Source
from sensorium.errors import DataError
from sensorium.modalities.graph.batch import Graph


@dataclass
class Named:
    """One graph as its file gives it.

    Args:
        id: unique among the graphs of a source.
        graph: classes and numbers as they came.
        labels: what evaluators predict.
        split: "train", "val", "test" or None.
    """

    id: str
    graph: Graph
    labels: dict[str, Any] = field(default_factory=dict)
    split: str | None = None


class GraphSource(Source):
    """Graphs in memory.

    Args:
        graphs: what is given, in order.
        name: the field under which records carry them.
        of: where they are from, for errors.
    """

    def __init__(self, graphs: Sequence[Named], name: str, of: str) -> None:
        if not graphs:
            raise DataError(f"There are no graphs in {of}.")
        self._graphs, self._field = graphs, name

    @property
    def fields(self) -> tuple[str, ...]:
        """The name under which records carry their graph."""
        return (self._field,)

    def __len__(self) -> int:
        return len(self._graphs)

    def key(self, index: int) -> Record:
        """Return the record at `index` without its graph."""
        one = self._graphs[index]
        return Record(one.id, {}, one.labels, one.split)

    def __getitem__(self, index: int) -> Record:
        one = self._graphs[index]
        return Record(one.id, {self._field: one.graph}, one.labels, one.split)
