"""A graph, a batch of graphs, and the schema of their node and edge features.

Letters, here and in the rest of the modality: B graphs, N nodes of all graphs together, E edges of all graphs
together, T nodes of the largest graph, F categorical features, V numeric features, D width of embeddings.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from sensorium import Batch, to_device
from sensorium.modalities.graph.layout import RowLayout, runs


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

    Nodes and edges are ordered by graph. Features that the graphs lack have width 0. Sizes are on the host, and so are,
    as `host`, the graphs themselves where they came from there: whatever changes the number of nodes or edges is
    computed on the host and copied to the device, which nothing waits for.

    Args:
        x: int64 (N, F), categorical node features.
        values: float32 (N, V), numeric node features.
        edge_index: int64 (2, E), source and target node of each edge, numbered over the batch.
        edge_attr: int64 (E, F), categorical edge features.
        edge_values: float32 (E, V), numeric edge features.
        sizes: int64 (B,), number of nodes of each graph, on the host.
        edge_sizes: int64 (B,), number of edges of each graph, on the host.
    """

    x: Tensor
    values: Tensor
    edge_index: Tensor
    edge_attr: Tensor
    edge_values: Tensor
    sizes: np.ndarray
    edge_sizes: np.ndarray

    @classmethod
    def join(cls, graphs: Sequence[Graph]) -> Self:
        """Join graphs that have the same features."""
        sizes = np.array([len(graph) for graph in graphs], np.int64)
        edge_sizes = np.array([g.edge_index.shape[1] for g in graphs], np.int64)
        offsets = (sizes.cumsum() - sizes).tolist()
        edges_2E = torch.cat([g.edge_index + offset for g, offset in zip(graphs, offsets, strict=True)], dim=1)
        return cls(
            _rows([g.x for g in graphs], sizes, torch.int64),
            _rows([g.values for g in graphs], sizes, torch.float32),
            edges_2E,
            _rows([g.edge_attr for g in graphs], edge_sizes, torch.int64),
            _rows([g.edge_values for g in graphs], edge_sizes, torch.float32),
            sizes,
            edge_sizes,
        )

    def __len__(self) -> int:
        """Return B."""
        return len(self.sizes)

    def as_tensor(self) -> Self:
        """Return the batch itself: graphs are no single tensor, and networks on graphs take their parts by name."""
        return self

    def with_tensor(self, x: Any) -> Self:
        """Return what stands in place of the batch, another one."""
        return x

    @property
    def host(self) -> Self:
        """The same graphs on the CPU.

        On a device they are those that `to` brought there, or `cat` joined; made otherwise, they are copied back, which
        waits for the device.
        """
        if self.device.type == "cpu":
            return self
        known = self.__dict__
        if "_host" not in known:
            parts = known.get("_parts")
            known["_host"] = self.cat([part.host for part in parts]) if parts else super().to("cpu")
        return known["_host"]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Return the batch on `device`, copied there from the host at once without waiting, or as `host`."""
        device, here = torch.device(device), self.device
        if device.type == here.type and device.index in (None, here.index):
            return self
        host = self.host
        if device.type == "cpu":
            return host
        names, tensors = zip(*host.tensors().items(), strict=True)
        there = replace(host, **dict(zip(names, to_device(tensors, device), strict=True)))
        there.__dict__["_host"] = host
        return there

    def pin_memory(self) -> Self:
        """Return the batch as it is: `to` packs it into page-locked memory."""
        return self

    @cached_property
    def layout(self) -> RowLayout:
        """Where the nodes lie, in one list and padded."""
        return RowLayout.of_sizes(self.sizes, self.device)

    @property
    def graph_index(self) -> Tensor:
        """The graph of each node, int64 (N,): PyTorch Geometric's `batch`."""
        return self.layout.graph_N

    @cached_property
    def first_node(self) -> Tensor:
        """The index of each graph's first node, int64 (B,): PyTorch Geometric's `ptr`."""
        return to_device([self.sizes.cumsum() - self.sizes], self.device)[0]

    @property
    def local_index(self) -> Tensor:
        """The index of each node within its graph, int64 (N,)."""
        return torch.arange(len(self.x), device=self.device) - self.first_node[self.graph_index]

    @cached_property
    def edge_layout(self) -> RowLayout:
        """Where the edges lie, likewise."""
        return RowLayout.of_sizes(self.edge_sizes, self.device)

    @property
    def edge_graph_index(self) -> Tensor:
        """The graph of each edge, int64 (E,)."""
        return self.edge_layout.graph_N

    def padded(self, rows_N: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows of nodes padded to (B, T, ...) with zeros, and their mask bool (B, T), True where valid."""
        return self.layout.pad(rows_N), self.layout.mask_BT

    def select(self, index: Tensor) -> Self:
        """Return the graphs at `index`: int64 indices (M,), repeats allowed, or a bool mask (B,)."""
        if self.device.type != "cpu":
            return self.host.select(index.cpu()).to(self.device)
        index_M = index.nonzero()[:, 0].numpy() if index.dtype == torch.bool else index.numpy()
        sizes_M, edge_sizes_M = self.sizes[index_M], self.edge_sizes[index_M]
        firsts_M = (self.sizes.cumsum() - self.sizes)[index_M]
        nodes_N = torch.from_numpy(runs(firsts_M, sizes_M))
        edges_E = torch.from_numpy(runs((self.edge_sizes.cumsum() - self.edge_sizes)[index_M], edge_sizes_M))
        shift_E = (sizes_M.cumsum() - sizes_M - firsts_M).repeat(edge_sizes_M)
        return type(self)(
            self.x[nodes_N],
            self.values[nodes_N],
            self.edge_index[:, edges_E] + torch.from_numpy(shift_E),
            self.edge_attr[edges_E],
            self.edge_values[edges_E],
            sizes_M,
            edge_sizes_M,
        )

    def subgraph(self, keep_N: Tensor) -> Self:
        """Return the subgraph induced by the nodes of `keep_N`, a bool mask (N,)."""
        if self.device.type != "cpu":
            return self.host.subgraph(keep_N.cpu()).to(self.device)
        keep_E = keep_N[self.edge_index].all(0)
        index_N = keep_N.cumsum(0) - 1
        return type(self)(
            self.x[keep_N],
            self.values[keep_N],
            index_N[self.edge_index[:, keep_E]],
            self.edge_attr[keep_E],
            self.edge_values[keep_E],
            self.graph_index[keep_N].bincount(minlength=len(self)).numpy(),
            self.edge_graph_index[keep_E].bincount(minlength=len(self)).numpy(),
        )

    @classmethod
    def cat(cls, batches: Sequence[Self]) -> Self:
        """Join batches along their graphs."""
        nodes = np.cumsum([0, *(len(b.x) for b in batches)]).tolist()
        joined = cls(
            torch.cat([b.x for b in batches]),
            torch.cat([b.values for b in batches]),
            torch.cat([b.edge_index + n for b, n in zip(batches, nodes, strict=False)], dim=1),
            torch.cat([b.edge_attr for b in batches]),
            torch.cat([b.edge_values for b in batches]),
            np.concatenate([b.sizes for b in batches]),
            np.concatenate([b.edge_sizes for b in batches]),
        )
        if joined.device.type != "cpu":
            joined.__dict__["_parts"] = list(batches)
        return joined

    def shape_key(self) -> Hashable:
        """Return the type and the numbers of features: graphs of any size can be joined."""
        columns = (self.x, self.values, self.edge_attr, self.edge_values)
        return (type(self), *(column.shape[1] for column in columns))

    def graphs(self) -> Iterator[Graph]:
        """Iterate over the graphs of the batch, on the CPU."""
        host, nodes, edges = self.host, self.sizes.tolist(), self.edge_sizes.tolist()
        parts = zip(
            host.edge_index.split(edges, dim=1),
            (self.sizes.cumsum() - self.sizes).tolist(),
            host.x.split(nodes),
            host.values.split(nodes),
            host.edge_attr.split(edges),
            host.edge_values.split(edges),
            nodes,
            strict=True,
        )
        for edge_index, first, x, values, edge_attr, edge_values, count in parts:
            yield Graph(edge_index - first, x, values, edge_attr, edge_values, count)


def _rows(parts: Sequence[Tensor | None], counts: np.ndarray, dtype: torch.dtype) -> Tensor:
    """Concatenate the rows of several graphs; None has width 0."""
    rows = zip(parts, counts.tolist(), strict=True)
    return torch.cat([torch.zeros(n, 0, dtype=dtype) if part is None else part for part, n in rows])
