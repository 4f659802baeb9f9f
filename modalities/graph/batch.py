"""Graphs: one of them, a batch of them, and what their nodes and edges carry.

Letters, here and in the rest of the modality: B graphs, N nodes of all graphs together, E edges of all graphs
together, T nodes of the largest graph, F columns of classes, V columns of numbers, D width of features.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from sensorium import Batch


@dataclass(frozen=True)
class Schema:
    """What the nodes and edges of a modality's graphs carry; encoders and views are made for it.

    Class ids of a column run from 0 to its size - 1; the size itself stands for a class that a view has hidden.

    Args:
        nodes: how many classes each column of `x` has.
        values: how many columns of numbers nodes have.
        edges: how many classes each column of `edge_attr` has.
        edge_values: how many columns of numbers edges have.
        rooted: whether a graph's first node is what its record stands for, so that no view leaves it out.
    """

    nodes: tuple[int, ...] = ()
    values: int = 0
    edges: tuple[int, ...] = ()
    edge_values: int = 0
    rooted: bool = False


@dataclass
class Graph:
    """One graph of n nodes and e directed edges; an undirected edge is there both ways.

    Args:
        edge_index: int64 (2, e), from which node to which.
        x: int64 (n, F), the classes of every node; None is no column.
        values: float32 (n, V), the numbers of every node; None is no column.
        edge_attr: int64 (e, F), the classes of every edge; None is no column.
        edge_values: float32 (e, V), the numbers of every edge; None is no column.
        nodes: n, for graphs whose nodes carry nothing; default the rows of `x` or `values`.
    """

    edge_index: Tensor
    x: Tensor | None = None
    values: Tensor | None = None
    edge_attr: Tensor | None = None
    edge_values: Tensor | None = None
    nodes: int | None = None

    def __len__(self) -> int:
        """Return n."""
        if self.nodes is not None:
            return self.nodes
        rows = self.x if self.x is not None else self.values
        return 0 if rows is None else len(rows)


@dataclass
class GraphBatch(Batch):
    """B graphs as one graph of N nodes and E edges that falls apart into them, as in PyTorch Geometric.

    Nodes stand in the order of their graphs, and so do edges. A kind of column that there is none of has width 0.

    Args:
        x: int64 (N, F), the classes of every node.
        values: float32 (N, V), the numbers of every node.
        edge_index: int64 (2, E), from which node to which; both are of one graph.
        edge_attr: int64 (E, F), the classes of every edge.
        edge_values: float32 (E, V), the numbers of every edge.
        sizes: int64 (B,), how many nodes each graph has.
        edge_sizes: int64 (B,), how many edges each graph has.
    """

    x: Tensor
    values: Tensor
    edge_index: Tensor
    edge_attr: Tensor
    edge_values: Tensor
    sizes: Tensor
    edge_sizes: Tensor

    @classmethod
    def join(cls, graphs: Sequence[Graph]) -> Self:
        """Join graphs that carry the same columns."""
        sizes_B = torch.tensor([len(graph) for graph in graphs], dtype=torch.int64)
        firsts = (sizes_B.cumsum(0) - sizes_B).tolist()
        edges_2E = torch.cat([g.edge_index + first for g, first in zip(graphs, firsts, strict=True)], dim=1)
        counts = [g.edge_index.shape[1] for g in graphs]
        return cls(
            _rows([g.x for g in graphs], sizes_B.tolist(), torch.int64),
            _rows([g.values for g in graphs], sizes_B.tolist(), torch.float32),
            edges_2E,
            _rows([g.edge_attr for g in graphs], counts, torch.int64),
            _rows([g.edge_values for g in graphs], counts, torch.float32),
            sizes_B,
            torch.tensor(counts, dtype=torch.int64),
        )

    def __len__(self) -> int:
        """Return B."""
        return len(self.sizes)

    @property
    def device(self) -> torch.device:
        """Where the batch lives."""
        return self.sizes.device

    @cached_property
    def graph(self) -> Tensor:
        """Which graph a node is of: int64 (N,)."""
        return torch.arange(len(self), device=self.device).repeat_interleave(self.sizes)

    @property
    def firsts(self) -> Tensor:
        """Where the nodes of each graph start: int64 (B,)."""
        return self.sizes.cumsum(0) - self.sizes

    @property
    def places(self) -> Tensor:
        """Where a node stands in its graph: int64 (N,)."""
        return torch.arange(len(self.graph), device=self.device) - self.firsts[self.graph]

    @cached_property
    def edge_graph(self) -> Tensor:
        """Which graph an edge is of: int64 (E,)."""
        return torch.arange(len(self), device=self.device).repeat_interleave(self.edge_sizes)

    def padded(self, rows_N: Tensor) -> tuple[Tensor, Tensor]:
        """Return what belongs to each node graph by graph: (B, T, ...), zero beyond a graph, and mask bool (B, T)."""
        return padded(rows_N, self.sizes)

    def select(self, index: Tensor) -> Self:
        """Return the graphs at `index`: int64 positions (M,), each as often as it is named, or a bool mask (B,)."""
        index_M = index.nonzero()[:, 0] if index.dtype == torch.bool else index
        sizes_M, edge_sizes_M, firsts_M = self.sizes[index_M], self.edge_sizes[index_M], self.firsts[index_M]
        nodes_N = _runs(firsts_M, sizes_M)
        edges_E = _runs((self.edge_sizes.cumsum(0) - self.edge_sizes)[index_M], edge_sizes_M)
        shift_M = sizes_M.cumsum(0) - sizes_M - firsts_M
        return type(self)(
            self.x[nodes_N],
            self.values[nodes_N],
            self.edge_index[:, edges_E] + shift_M.repeat_interleave(edge_sizes_M),
            self.edge_attr[edges_E],
            self.edge_values[edges_E],
            sizes_M,
            edge_sizes_M,
        )

    def subgraph(self, keep_N: Tensor) -> Self:
        """Return the nodes at `keep_N`, a bool mask (N,), with the edges between them."""
        keep_E = keep_N[self.edge_index].all(0)
        place_N = keep_N.cumsum(0) - 1
        return type(self)(
            self.x[keep_N],
            self.values[keep_N],
            place_N[self.edge_index[:, keep_E]],
            self.edge_attr[keep_E],
            self.edge_values[keep_E],
            self.graph[keep_N].bincount(minlength=len(self)),
            self.edge_graph[keep_E].bincount(minlength=len(self)),
        )

    @classmethod
    def cat(cls, batches: Sequence[Self]) -> Self:
        """Join batches along their graphs."""
        nodes = torch.tensor([len(b.x) for b in batches]).cumsum(0).tolist()
        return cls(
            torch.cat([b.x for b in batches]),
            torch.cat([b.values for b in batches]),
            torch.cat([b.edge_index + n for b, n in zip(batches, [0, *nodes[:-1]], strict=True)], dim=1),
            torch.cat([b.edge_attr for b in batches]),
            torch.cat([b.edge_values for b in batches]),
            torch.cat([b.sizes for b in batches]),
            torch.cat([b.edge_sizes for b in batches]),
        )

    def shape_key(self) -> Hashable:
        """Return the type and the columns: graphs of any size can be joined."""
        columns = (self.x, self.values, self.edge_attr, self.edge_values)
        return (type(self), *(column.shape[1] for column in columns))

    def graphs(self) -> Iterator[Graph]:
        """Take the batch apart into graphs on the CPU."""
        on_cpu = self.to("cpu")
        nodes, edges = on_cpu.sizes.tolist(), on_cpu.edge_sizes.tolist()
        parts = zip(
            on_cpu.edge_index.split(edges, dim=1),
            on_cpu.firsts.tolist(),
            on_cpu.x.split(nodes),
            on_cpu.values.split(nodes),
            on_cpu.edge_attr.split(edges),
            on_cpu.edge_values.split(edges),
            nodes,
            strict=True,
        )
        for edge_index, first, x, values, edge_attr, edge_values, count in parts:
            yield Graph(edge_index - first, x, values, edge_attr, edge_values, count)


def padded(rows_N: Tensor, sizes_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows that stand group by group padded: (B, T, ...), zero beyond a group, and mask bool (B, T).

    Args:
        rows_N: what is padded, one row for each node (or edge).
        sizes_B: int64, how many rows each graph has.
    """
    t = int(sizes_B.max()) if len(sizes_B) else 0
    mask_BT = torch.arange(t, device=sizes_B.device) < sizes_B[:, None]
    out = rows_N.new_zeros(len(sizes_B), t, *rows_N.shape[1:])
    return out.masked_scatter(mask_BT.view(*mask_BT.shape, *[1] * (rows_N.ndim - 1)).expand_as(out), rows_N), mask_BT


def _rows(parts: Sequence[Tensor | None], counts: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Join columns of several graphs; None has no column."""
    return torch.cat([torch.zeros(n, 0, dtype=dtype) if p is None else p for p, n in zip(parts, counts, strict=True)])


def _runs(starts_M: Tensor, lengths_M: Tensor) -> Tensor:
    """Return, one after the other, the positions of runs that start and are as long as said."""
    before_M = lengths_M.cumsum(0) - lengths_M
    count = int(lengths_M.sum())
    return torch.arange(count, device=starts_M.device) + (starts_M - before_M).repeat_interleave(lengths_M)
