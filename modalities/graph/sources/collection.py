"""A source of graphs in memory, one behind the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from sensorium import OpenedAgain, Record, RecordColumns, Unreadable
from sensorium.errors import DataError
from sensorium.modalities.graph.batch import Graph


@dataclass(frozen=True)
class Graphs:
    """B graphs of N nodes and E edges together, ordered by graph: a few arrays, and no object for each.

    Args:
        edges_2E: int64, source and target of each edge, numbered within their graph.
        sizes_B: int64, number of nodes of each graph.
        edge_sizes_B: int64, number of edges of each graph.
        of_nodes: `x` and `values` of `Graph` -> features of all nodes (N, ...), or None.
        of_edges: `edge_attr` and `edge_values` -> features of all edges (E, ...), or None.
        faults: the numbers of graphs that cannot be read -> why.
    """

    edges_2E: np.ndarray
    sizes_B: np.ndarray
    edge_sizes_B: np.ndarray
    of_nodes: Mapping[str, np.ndarray | None]
    of_edges: Mapping[str, np.ndarray | None]
    faults: Mapping[int, Unreadable] = field(default_factory=dict)
    _node_ends: np.ndarray = field(init=False, repr=False, compare=False)
    _edge_ends: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_node_ends", np.cumsum(self.sizes_B))
        object.__setattr__(self, "_edge_ends", np.cumsum(self.edge_sizes_B))

    def __len__(self) -> int:
        return len(self.sizes_B)

    def __getitem__(self, index: int) -> Graph | Unreadable:
        """Return one graph, whose tensors are its own, or why it cannot be read."""
        index = range(len(self))[index]
        if index in self.faults:
            return self.faults[index]
        last, size = int(self._node_ends[index]), int(self.sizes_B[index])
        last_edge, edge_size = int(self._edge_ends[index]), int(self.edge_sizes_B[index])
        nodes, edges = slice(last - size, last), slice(last_edge - edge_size, last_edge)
        parts = {name: None if all_N is None else _copied(all_N[nodes]) for name, all_N in self.of_nodes.items()}
        parts |= {name: None if all_E is None else _copied(all_E[edges]) for name, all_E in self.of_edges.items()}
        return Graph(_copied(self.edges_2E[:, edges]), **parts, num_nodes=size)


class GraphSource(OpenedAgain):
    """Graphs in memory.

    Args:
        graphs: in the order of the records.
        columns: their ids, labels and splits.
        name: field name of the graph in the records.
        of: where the graphs are from, for errors.
    """

    def __init__(self, graphs: Graphs, columns: RecordColumns, name: str, of: str) -> None:
        if not len(graphs):
            raise DataError(f"{of} has no graphs.")
        self._graphs, self._columns, self._field = graphs, columns, name

    @property
    def fields(self) -> tuple[str, ...]:
        """The field name of the graph."""
        return (self._field,)

    def __len__(self) -> int:
        return len(self._graphs)

    def columns(self) -> RecordColumns:
        """Return ids, labels and splits of all graphs."""
        return self._columns

    def __getitem__(self, index: int) -> Record:
        key = self.key(index)
        return Record(key.id, {self._field: self._graphs[index]}, key.labels, key.split)


def _copied(rows: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(rows, order="C"))
