"""A graph, a batch of graphs, and the schema of their node and edge features.

Letters, here and in the rest of the modality: B graphs, N nodes of all graphs together, E edges of all graphs
together, T nodes of the largest graph, F categorical features, V numeric features, D width of embeddings.
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
    """The node and edge features of a modality's graphs; encoders and views are built from it.

    Category ids of a feature run from 0 to its number of categories - 1; the number itself is the mask category.

    Args:
        node_categories: number of categories of each categorical node feature (column of `x`).
        node_values: number of numeric node features.
        edge_categories: number of categories of each categorical edge feature (column of `edge_attr`).
        edge_values: number of numeric edge features.
        rooted: whether a graph is the neighborhood of its first node, the root, which every view keeps.
    """

    node_categories: tuple[int, ...] = ()
    node_values: int = 0
    edge_categories: tuple[int, ...] = ()
    edge_values: int = 0
    rooted: bool = False


@dataclass
class Graph:
    """One graph of n nodes and e directed edges; an undirected edge is stored in both directions.

    Args:
        edge_index: int64 (2, e), source and target node of each edge.
        x: int64 (n, F), categorical node features, or None.
        values: float32 (n, V), numeric node features, or None.
        edge_attr: int64 (e, F), categorical edge features, or None.
        edge_values: float32 (e, V), numeric edge features, or None.
        num_nodes: n, for graphs without node features; default the rows of `x` or `values`.
    """

    edge_index: Tensor
    x: Tensor | None = None
    values: Tensor | None = None
    edge_attr: Tensor | None = None
    edge_values: Tensor | None = None
    num_nodes: int | None = None

    def __len__(self) -> int:
        """Return n."""
        if self.num_nodes is not None:
            return self.num_nodes
        rows = self.x if self.x is not None else self.values
        return 0 if rows is None else len(rows)


@dataclass
class GraphBatch(Batch):
    """B graphs as one disconnected graph of N nodes and E edges, as in PyTorch Geometric.

    Nodes and edges are ordered by graph. Features that the graphs lack have width 0.

    Args:
        x: int64 (N, F), categorical node features.
        values: float32 (N, V), numeric node features.
        edge_index: int64 (2, E), source and target node of each edge, numbered over the batch.
        edge_attr: int64 (E, F), categorical edge features.
        edge_values: float32 (E, V), numeric edge features.
        sizes: int64 (B,), number of nodes of each graph.
        edge_sizes: int64 (B,), number of edges of each graph.
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
        """Join graphs that have the same features."""
        sizes_B = torch.tensor([len(graph) for graph in graphs], dtype=torch.int64)
        offsets = (sizes_B.cumsum(0) - sizes_B).tolist()
        edges_2E = torch.cat([g.edge_index + offset for g, offset in zip(graphs, offsets, strict=True)], dim=1)
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
        """The device of the batch."""
        return self.sizes.device

    @cached_property
    def graph_index(self) -> Tensor:
        """The graph of each node, int64 (N,): PyTorch Geometric's `batch`."""
        return torch.arange(len(self), device=self.device).repeat_interleave(self.sizes)

    @property
    def first_node(self) -> Tensor:
        """The index of each graph's first node, int64 (B,): PyTorch Geometric's `ptr`."""
        return self.sizes.cumsum(0) - self.sizes

    @property
    def local_index(self) -> Tensor:
        """The index of each node within its graph, int64 (N,)."""
        return torch.arange(len(self.graph_index), device=self.device) - self.first_node[self.graph_index]

    @cached_property
    def edge_graph_index(self) -> Tensor:
        """The graph of each edge, int64 (E,)."""
        return torch.arange(len(self), device=self.device).repeat_interleave(self.edge_sizes)

    def padded(self, rows_N: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows of nodes padded to (B, T, ...) with zeros, and their mask bool (B, T), True where valid."""
        return padded(rows_N, self.sizes)

    def select(self, index: Tensor) -> Self:
        """Return the graphs at `index`: int64 indices (M,), repeats allowed, or a bool mask (B,)."""
        index_M = index.nonzero()[:, 0] if index.dtype == torch.bool else index
        sizes_M, edge_sizes_M, firsts_M = self.sizes[index_M], self.edge_sizes[index_M], self.first_node[index_M]
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
        """Return the subgraph induced by the nodes of `keep_N`, a bool mask (N,)."""
        keep_E = keep_N[self.edge_index].all(0)
        index_N = keep_N.cumsum(0) - 1
        return type(self)(
            self.x[keep_N],
            self.values[keep_N],
            index_N[self.edge_index[:, keep_E]],
            self.edge_attr[keep_E],
            self.edge_values[keep_E],
            self.graph_index[keep_N].bincount(minlength=len(self)),
            self.edge_graph_index[keep_E].bincount(minlength=len(self)),
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
        """Return the type and the numbers of features: graphs of any size can be joined."""
        columns = (self.x, self.values, self.edge_attr, self.edge_values)
        return (type(self), *(column.shape[1] for column in columns))

    def graphs(self) -> Iterator[Graph]:
        """Iterate over the graphs of the batch, on the CPU."""
        on_cpu = self.to("cpu")
        nodes, edges = on_cpu.sizes.tolist(), on_cpu.edge_sizes.tolist()
        parts = zip(
            on_cpu.edge_index.split(edges, dim=1),
            on_cpu.first_node.tolist(),
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
    """Return rows grouped by graph padded to (B, T, ...) with zeros, and their mask bool (B, T), True where valid.

    Args:
        rows_N: one row for each node (or edge), ordered by graph.
        sizes_B: int64, number of rows of each graph.
    """
    t = int(sizes_B.max()) if len(sizes_B) else 0
    mask_BT = torch.arange(t, device=sizes_B.device) < sizes_B[:, None]
    out = rows_N.new_zeros(len(sizes_B), t, *rows_N.shape[1:])
    return out.masked_scatter(mask_BT.view(*mask_BT.shape, *[1] * (rows_N.ndim - 1)).expand_as(out), rows_N), mask_BT


def _rows(parts: Sequence[Tensor | None], counts: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Concatenate the rows of several graphs; None has width 0."""
    return torch.cat([torch.zeros(n, 0, dtype=dtype) if p is None else p for p, n in zip(parts, counts, strict=True)])


def _runs(starts_M: Tensor, lengths_M: Tensor) -> Tensor:
    """Return the concatenated indices of runs: `starts_M[i]` to `starts_M[i] + lengths_M[i] - 1`."""
    before_M = lengths_M.cumsum(0) - lengths_M
    count = int(lengths_M.sum())
    return torch.arange(count, device=starts_M.device) + (starts_M - before_M).repeat_interleave(lengths_M)
