"""The nodes of one large graph as records, each with its sampled k-hop neighborhood (GraphSAGE, Hamilton et al. 2017).

A record's graph has its node, the root, first. The fan-out bounds its size, so the cost of a batch does not depend on
the size of the large graph. A node's neighborhood is sampled once, seeded from the seed and the node's index.

Letters: N nodes, E edges, F categorical features, V numeric features, M nodes of a neighborhood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from sensorium import OpenedAgain, Record, RecordColumns, TableReader
from sensorium.contracts.record_columns import label_column
from sensorium.errors import DataError, RecipeError
from sensorium.modalities.graph.batch import Graph
from sensorium.modalities.graph.sources.tables import FeatureColumns, Format, edge_index_of


class Neighbors:
    """The undirected adjacency lists of a large graph (CSR).

    Args:
        edges_2E: int64, source and target of each edge; reverse edges are added.
        nodes: N.
    """

    def __init__(self, edges_2E: np.ndarray, nodes: int) -> None:
        both = np.unique(np.concatenate([edges_2E, edges_2E[::-1]], axis=1), axis=1) if edges_2E.size else edges_2E
        self.starts_N = np.searchsorted(both[0], np.arange(nodes + 1))
        self.targets_E = both[1].copy()

    def sample(self, node: int, fanout: Sequence[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the nodes of a sampled neighborhood (M,), the root first, and its edges in local indices, (2, e).

        Args:
            node: the root.
            fanout: for each hop, the number of neighbors sampled per node, with replacement where it has more.
            seed: of the sampling, together with the node.
        """
        rng = np.random.default_rng((seed, node))
        found_M, edges_2e = np.array([node]), np.zeros((2, 0), np.int64)
        reached = found_M
        for most in fanout:
            starts, degrees = self.starts_N[reached], self.starts_N[reached + 1] - self.starts_N[reached]
            taken = np.minimum(degrees, most)
            source = np.repeat(reached, taken)
            offset = np.arange(len(source)) - np.repeat(np.cumsum(taken) - taken, taken)
            drawn = (rng.random(len(source)) * np.repeat(degrees, taken)).astype(np.int64)
            neighbor = np.where(np.repeat(degrees <= most, taken), offset, drawn)
            target = self.targets_E[np.repeat(starts, taken) + neighbor]
            edges_2e = np.concatenate([edges_2e, np.stack([source, target])], axis=1)
            reached = np.setdiff1d(target, found_M)
            found_M = np.concatenate([found_M, reached])
        order = np.argsort(found_M)
        local_2e = order[np.searchsorted(found_M[order], edges_2e)]
        return found_M, np.unique(np.concatenate([local_2e, local_2e[::-1]], axis=1), axis=1)


class NodeSource(OpenedAgain):
    """The nodes of a graph in memory as records.

    Args:
        edges_2E: int64, source and target of each edge.
        categories_NF: int64, categorical node features.
        values_NV: float, numeric node features.
        labels: label name to a value per node, None where it is missing.
        splits: the part of each node, None where the recipe's split decides; None for no node.
        ids: the record id of each node; None is its index.
        fanout: number of neighbors sampled per node at each hop.
        records: number of nodes that become records, sampled by the seed; None is all. The graph keeps all nodes.
        seed: of the sampling.
        field: field name of the neighborhood in the records.
    """

    def __init__(
        self,
        edges_2E: np.ndarray,
        categories_NF: np.ndarray,
        values_NV: np.ndarray,
        labels: Mapping[str, Sequence[Any] | np.ndarray],
        splits: Sequence[str | None] | None,
        ids: Sequence[str] | None,
        fanout: tuple[int, ...],
        records: int | None,
        seed: int,
        field: str,
    ) -> None:
        nodes = len(categories_NF)
        if not nodes:
            raise DataError("The graph has no nodes.")
        if not fanout or min(fanout) < 1:
            raise RecipeError(f"data.source.fanout samples at least one neighbor at each hop, not {list(fanout)}.")
        self._neighbors = Neighbors(edges_2E, nodes)
        self._categories_NF, self._values_NV = categories_NF, values_NV
        self._fanout, self._seed, self._field = fanout, seed, field
        sampled = records is not None and records < nodes
        self._nodes = np.sort(np.random.default_rng(seed).permutation(nodes)[:records]) if sampled else np.arange(nodes)
        self._columns = RecordColumns(
            nodes,
            None if ids is None else pa.array(ids, pa.string()),
            {name: label_column(name, cells) for name, cells in labels.items()},
            None if splits is None else pa.array(splits, pa.string()),
        ).take(self._nodes)

    @property
    def fields(self) -> tuple[str, ...]:
        """The field name of the neighborhood."""
        return (self._field,)

    def __len__(self) -> int:
        return len(self._nodes)

    def columns(self) -> RecordColumns:
        """Return ids, labels and splits of all nodes that are records."""
        return self._columns

    def __getitem__(self, index: int) -> Record:
        key = self.key(index)
        nodes_M, edges_2e = self._neighbors.sample(int(self._nodes[index]), self._fanout, self._seed)
        categories, values = self._categories_NF[nodes_M], self._values_NV[nodes_M]
        graph = Graph(
            torch.from_numpy(edges_2e),
            torch.from_numpy(categories) if categories.shape[1] else None,
            torch.from_numpy(values) if values.shape[1] else None,
            num_nodes=len(nodes_M),
        )
        return Record(key.id, {self._field: graph}, key.labels, key.split)


class Nodes(NodeSource):
    """The nodes of one large graph, from a table of edges and a table of nodes.

    Tables are CSV, TSV, JSON-lines or Parquet files. Each record is a node with its sampled neighborhood, the node
    first: give the modality `rooted: true`, and the encoder `pool: first`. Node columns without another use are node
    features: integers and text are categorical, other numbers numeric.

    Args:
        edges: path of the table with one row per edge.
        nodes: path of the table with one row per node.
        source: column of the edge table, the id of an edge's source node.
        target: column of the edge table, the id of an edge's target node.
        node: column of the node table, the node id.
        labels: columns of the node table that become labels.
        split: column of the node table with "train", "val" or "test".
        ignore: columns of the node table that are left out.
        format: format of the tables; None goes by the file extension.
        delimiter: the character between the cells of a CSV file, such as ";"; default ",".
        encoding: of a CSV, TSV or JSON-lines file without a byte-order mark, such as cp1252; default utf-8.
        fanout: number of neighbors sampled per node at each hop; as many hops as the encoder has layers are enough.
        records: number of nodes that become records, sampled by the seed; None is all. The graph keeps all nodes.
        seed: of the sampling.
        field: field name of the neighborhood in the records.
    """

    def __init__(
        self,
        edges: str,
        nodes: str,
        source: str = "source",
        target: str = "target",
        node: str = "node",
        labels: list[str] | None = None,
        split: str | None = None,
        ignore: list[str] | None = None,
        format: Format | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
        fanout: tuple[int, ...] = (10, 10),
        records: int | None = None,
        seed: int = 0,
        field: str = "graph",
    ) -> None:
        used = [node, *(labels or []), *([split] if split else [])]
        reader = TableReader(format, delimiter, encoding=encoding)
        edge_table = FeatureColumns(reader, edges, [source, target])
        node_table = FeatureColumns(reader, nodes, used, ignore)
        node_table.require_full()
        names = node_table.texts(node)
        edges_2E = edge_index_of(np.stack([edge_table.texts(source), edge_table.texts(target)]), names, edges)
        columns = {label: node_table.table.cells(label) for label in labels or ()}
        splits = node_table.table.cells(split) if split else None
        parts = (node_table.categories_NF, node_table.values_NV, columns, splits, names.tolist())
        super().__init__(edges_2E, *parts, fanout, records, seed, field)


class Karate(NodeSource):
    """Zachary's karate club (1977) from PyTorch Geometric: 34 nodes, undirected friendships, four communities.

    Node features are random signs, which carry no information on the edges. The label "community" is from
    modularity-based clustering (Kipf and Welling 2017).

    Args:
        dims: number of random numeric features of a node.
        fanout: number of neighbors sampled per node at each hop.
        seed: of the features and of the sampling.
        field: field name of the neighborhood in the records.
    """

    def __init__(self, dims: int = 16, fanout: tuple[int, ...] = (20, 20), seed: int = 0, field: str = "graph") -> None:
        from torch_geometric.datasets import KarateClub

        data = KarateClub()[0]
        values = np.sign(np.random.default_rng(seed).standard_normal((data.num_nodes, dims)))
        labels = {"community": data.y.tolist()}
        no_categories = np.zeros((data.num_nodes, 0), np.int64)
        super().__init__(data.edge_index.numpy(), no_categories, values, labels, None, None, fanout, None, seed, field)


class StochasticBlocks(NodeSource):
    """Stochastic block model (Holland et al. 1983): a synthetic graph of classes with noisy node features.

    The label "class" is the block. Node features are normal with standard deviation 1 around a class center; the
    centers are normal with standard deviation `signal`.

    Args:
        nodes: number of nodes.
        classes: number of blocks of equal size, 2 to `nodes`.
        inside: expected number of neighbors of the same class.
        outside: expected number of neighbors of other classes.
        dims: number of numeric node features.
        signal: standard deviation of the class centers; larger makes classes easier to separate.
        fanout: number of neighbors sampled per node at each hop.
        records: number of nodes that become records, sampled by the seed; None is all. The graph keeps all nodes.
        seed: of the graph and of the sampling.
        field: field name of the neighborhood in the records.
    """

    def __init__(
        self,
        nodes: int = 100_000,
        classes: int = 10,
        inside: float = 8.0,
        outside: float = 4.0,
        dims: int = 16,
        signal: float = 0.3,
        fanout: tuple[int, ...] = (10, 10),
        records: int | None = None,
        seed: int = 0,
        field: str = "graph",
    ) -> None:
        if not 1 < classes <= nodes:
            raise RecipeError(f"data.source.classes is from 2 to the number of nodes, {nodes}, not {classes}.")
        rng = np.random.default_rng(seed)
        block_N = np.arange(nodes) % classes
        inside_edges, outside_edges = (rng.poisson(nodes * mean / 2) for mean in (inside, outside))
        source = rng.integers(0, nodes, inside_edges)
        target = rng.integers(0, nodes // classes, inside_edges) * classes + block_N[source]
        shift = rng.integers(1, classes, outside_edges)  # to another block, with equal probability
        start = rng.integers(0, nodes, outside_edges)
        end = rng.integers(0, nodes // classes, outside_edges) * classes + (block_N[start] + shift) % classes
        edges_2E = np.stack([np.concatenate([source, start]), np.concatenate([target, end])])
        centers_CV = signal * rng.standard_normal((classes, dims))
        values_NV = centers_CV[block_N] + rng.standard_normal((nodes, dims))
        no_categories = np.zeros((nodes, 0), np.int64)
        labels = {"class": block_N}
        edges_2E = edges_2E[:, edges_2E[0] != edges_2E[1]]
        super().__init__(edges_2E, no_categories, values_NV, labels, None, None, fanout, records, seed, field)
