"""The feature columns of a source's graphs: found out from the train part, and any graph's features brought to them.

Graphs of one source may differ in form and mean the same: integers in some and floats in others, no edge features
where there is no edge. What cannot be brought to the columns of the train part makes that one graph unreadable.

Letters: N rows (nodes or edges of a graph), F categorical columns, V numeric columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

import torch
from torch import Tensor

from sensorium import BadSample
from sensorium.modalities.graph.batch import Graph


class Columns(NamedTuple):
    """Numbers of categorical and of numeric columns."""

    categorical: int
    numeric: int

    @property
    def other_kind(self) -> Columns:
        """The columns of the same features in the other number type, where all are of one type."""
        return Columns(self.numeric, self.categorical) if 0 in self else self

    def __str__(self) -> str:
        return f"{self.categorical} categorical and {self.numeric} numeric"


class Features(NamedTuple):
    """The features of the nodes, or of the edges, of one graph.

    Args:
        categories: int64 (N, F), or None.
        values: float64 (N, V), or None.
        rows: N.
    """

    categories: Tensor | None
    values: Tensor | None
    rows: int

    @classmethod
    def of_nodes(cls, graph: Graph) -> Self:
        """Return the node features of a graph."""
        return cls(graph.x, graph.values, len(graph))

    @classmethod
    def of_edges(cls, graph: Graph) -> Self:
        """Return the edge features of a graph."""
        return cls(graph.edge_attr, graph.edge_values, graph.edge_index.shape[1])

    @property
    def columns(self) -> Columns:
        """Their numbers of columns."""
        return Columns(*(0 if part is None else part.shape[1] for part in self[:2]))

    def brought_to(self, columns: Columns, name: str) -> Features:
        """Return the features in the columns of the train part: cast, or empty where there are no rows.

        Raises:
            BadSample: when they are other features.
        """
        if self.columns == columns:
            return self
        if not self.rows:
            return Features(torch.zeros(0, columns.categorical, dtype=torch.int64), torch.zeros(0, columns.numeric), 0)
        if self.columns == columns.other_kind:
            if self.categories is not None:
                return Features(None, self.categories.double(), self.rows)
            if is_whole(self.values):
                return Features(self.values.long(), None, self.rows)  # type: ignore[union-attr]
            raise BadSample(
                f"{name} has fractions, but the {columns} columns of {name} of the train part are categories"
            )
        raise BadSample(
            f"the graph has {self.columns} columns of {name}, those of the train part have {columns}", "unsupported"
        )


class Tally:
    """What graphs with the same numbers of columns have in them.

    Args:
        columns: of all of them.

    Attributes:
        graphs: how many there are.
        categories: the categories of each categorical column.
        moments: number, sum and sum of squares of each numeric column, each (V,).
    """

    def __init__(self, columns: Columns) -> None:
        self.columns, self.graphs = columns, 0
        self.categories: list[set[int]] = [set() for _ in range(columns.categorical)]
        self.moments = moments(torch.zeros(0, columns.numeric, dtype=torch.float64))
        # The same in the other number type, for when other graphs have that; categories until a value has a fraction.
        self.as_categories: list[set[int]] | None = [set() for _ in range(columns.numeric)]
        self.as_moments = moments(torch.zeros(0, columns.categorical, dtype=torch.float64))

    def add(self, found: Features) -> None:
        """Count the features of one more graph."""
        self.graphs += 1
        if found.categories is not None:
            _add_categories(self.categories, found.categories)
            self.as_moments = _sum(self.as_moments, moments(found.categories.double()))
        if found.values is not None:
            self.moments = _sum(self.moments, moments(found.values.double()))
            if self.as_categories is not None and is_whole(found.values):
                _add_categories(self.as_categories, found.values.long())
            else:
                self.as_categories = None


def chosen(tallies: Mapping[Columns, Tally]) -> Tally:
    """Return what most graphs have, those with the same features in the other number type included.

    Integers in some graphs and floats in others are numeric features, unless the floats are whole and in the minority.
    """

    def graphs(columns: Columns) -> int:
        return sum(tallies[kind].graphs for kind in {columns, columns.other_kind} if kind in tallies)

    most = max(tallies, key=graphs)
    if most.other_kind not in tallies or most.other_kind == most:
        return tallies[most]
    integers, floats = sorted((tallies[most], tallies[most.other_kind]), key=lambda one: one.columns.numeric)
    if floats.as_categories is not None and floats.graphs <= integers.graphs:
        both = Tally(integers.columns)
        both.categories = [a | b for a, b in zip(integers.categories, floats.as_categories, strict=True)]
    else:
        both = Tally(floats.columns)
        both.moments = _sum(floats.moments, integers.as_moments)
    both.graphs = integers.graphs + floats.graphs
    return both


def is_whole(values: Tensor | None) -> bool:
    """Whether all values are integers that a category id can be."""
    return values is None or bool(((values == values.round()) & (values.abs() < 2**53)).all())


def moments(rows_NV: Tensor) -> list[Tensor]:
    """Return number, sum and sum of squares of each column, each (V,)."""
    return [torch.full((rows_NV.shape[1],), len(rows_NV)), rows_NV.sum(0), rows_NV.square().sum(0)]


def _sum(one: list[Tensor], other: list[Tensor]) -> list[Tensor]:
    return [a + b for a, b in zip(one, other, strict=True)]


def _add_categories(known: list[set[int]], rows_NF: Tensor) -> None:
    for column, found_N in zip(known, rows_NF.T, strict=True):
        column |= set(found_N.unique().tolist())
