"""The nodes of one large graph as records, each with a sample of what lies around it.

A record's graph has its node first, and as many others as the fan-out lets in: what a batch costs does not depend on
how many nodes the large graph has. A node's neighborhood is drawn once for all, from the seed and its place.

Letters: N nodes, E edges, F columns of classes, V columns of numbers, M nodes of a neighborhood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from sensorium import Record, Source
from sensorium.errors import DataError, RecipeError
from sensorium.modalities.graph.batch import Graph
from sensorium.modalities.graph.sources.tables import FeatureTable, Format, numbered


class Neighbors:
    """The edges of a large graph by the node that they leave, taken either way.

    Args:
        edges_2E: int64, from which node to which; the way back is added.
        nodes: N.
    """

    def __init__(self, edges_2E: np.ndarray, nodes: int) -> None:
        both = np.unique(np.concatenate([edges_2E, edges_2E[::-1]], axis=1), axis=1) if edges_2E.size else edges_2E
        self.starts_N = np.searchsorted(both[0], np.arange(nodes + 1))
        self.ends_E = both[1].copy()

    def sample(self, node: int, fanout: Sequence[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the nodes near one (M,), that one first, and the sampled edges between their places, (2, e).

        Args:
            node: whose neighborhood it is.
            fanout: for each step away, how many edges of each node are followed; of a node with more, as many draws.
            seed: of the draws, beside the node.
        """
        rng = np.random.default_rng((seed, node))
        found_M, edge_M = np.array([node]), np.zeros((2, 0), np.int64)
        reached = found_M
        for most in fanout:
            starts, degrees = self.starts_N[reached], self.starts_N[reached + 1] - self.starts_N[reached]
            taken = np.minimum(degrees, most)
            source = np.repeat(reached, taken)
            turn = np.arange(len(source)) - np.repeat(np.cumsum(taken) - taken, taken)
            drawn = (rng.random(len(source)) * np.repeat(degrees, taken)).astype(np.int64)
            offset = np.where(np.repeat(degrees <= most, taken), turn, drawn)
            sink = self.ends_E[np.repeat(starts, taken) + offset]
            edge_M = np.concatenate([edge_M, np.stack([source, sink])], axis=1)
            reached = np.setdiff1d(sink, found_M)
            found_M = np.concatenate([found_M, reached])
        order = np.argsort(found_M)
        places = order[np.searchsorted(found_M[order], edge_M)]
        return found_M, np.unique(np.concatenate([places, places[::-1]], axis=1), axis=1)


class NodeSource(Source):
    """The nodes of a graph in memory as records.

    Args:
        edges_2E: int64, from which node to which.
        classes_NF: int64, the classes of every node.
        values_NV: float, the numbers of every node.
        labels: label name to a value for each node, None where it has none.
        splits: the part of each node, None where the recipe's shares decide; None for no node.
        ids: the name of each node; None is its place.
        fanout: edges followed at each step away from a node.
        records: how many nodes, drawn by the seed, are records; None is all of them. The graph keeps all.
        seed: of the draws.
        field: the name under which records carry their neighborhood.
    """

    def __init__(
        self,
        edges_2E: np.ndarray,
        classes_NF: np.ndarray,
        values_NV: np.ndarray,
        labels: Mapping[str, Sequence[Any]],
        splits: Sequence[str | None] | None,
        ids: Sequence[str] | None,
        fanout: tuple[int, ...],
        records: int | None,
        seed: int,
        field: str,
    ) -> None:
        nodes = len(classes_NF)
        if not nodes:
            raise DataError("The graph has no nodes.")
        if not fanout or min(fanout) < 1:
            raise RecipeError(f"A fan-out follows at least one edge at each of its steps, not {list(fanout)}.")
        self._neighbors = Neighbors(edges_2E, nodes)
        self._classes_NF, self._values_NV = classes_NF, values_NV
        self._labels, self._splits, self._ids = labels, splits, ids
        self._fanout, self._seed, self._field = fanout, seed, field
        few = records is not None and records < nodes
        self._nodes = np.sort(np.random.default_rng(seed).permutation(nodes)[:records]) if few else np.arange(nodes)

    @property
    def fields(self) -> tuple[str, ...]:
        """The name under which records carry their neighborhood."""
        return (self._field,)

    def __len__(self) -> int:
        return len(self._nodes)

    def key(self, index: int) -> Record:
        """Return the record at `index` without its neighborhood."""
        node = int(self._nodes[index])
        labels = {name: column[node] for name, column in self._labels.items() if column[node] is not None}
        split = None if self._splits is None else self._splits[node]
        return Record(str(node) if self._ids is None else self._ids[node], {}, labels, split)

    def __getitem__(self, index: int) -> Record:
        key = self.key(index)
        near_M, edges_2e = self._neighbors.sample(int(self._nodes[index]), self._fanout, self._seed)
        classes, values = self._classes_NF[near_M], self._values_NV[near_M]
        graph = Graph(
            torch.from_numpy(edges_2e),
            torch.from_numpy(classes) if classes.shape[1] else None,
            torch.from_numpy(values) if values.shape[1] else None,
            nodes=len(near_M),
        )
        return Record(key.id, {self._field: graph}, key.labels, key.split)


class Nodes(NodeSource):
    """The nodes of one large graph out of a table of edges and a table of nodes (CSV, TSV, JSON lines, Parquet).

    Each record is a node with a sample of its neighborhood, itself first: give the modality `rooted: true`, and the
    encoder `pool: first`. Columns of nodes that have no other use are what they carry: integers and text are classes,
    other numbers numbers.

    Args:
        edges: the table with a row for each edge.
        nodes: the table with a row for each node.
        source: the column of edges that names the node an edge leaves.
        target: the column of edges that names the node it leads to.
        node: the column of nodes that names the node.
        labels: columns of nodes that evaluators predict.
        split: the column of nodes that says train, val or test.
        ignore: columns of nodes that are left out.
        format: the tables' format; default by their extension.
        fanout: edges followed at each step away from a node; as many steps as the encoder has layers are enough.
        records: how many nodes, drawn by the seed, are records; None is all of them. The graph keeps all.
        seed: of the draws.
        field: the name under which records carry their neighborhood.
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
        fanout: tuple[int, ...] = (10, 10),
        records: int | None = None,
        seed: int = 0,
        field: str = "graph",
    ) -> None:
        used = [node, *(labels or []), *([split] if split else [])]
        edge_table = FeatureTable(edges, [source, target], format=format)
        node_table = FeatureTable(nodes, used, ignore, format)
        names = node_table.texts(node)
        edges_2E = numbered(np.stack([edge_table.texts(source), edge_table.texts(target)]), names, edges).numpy()
        columns = {label: node_table.table.cells(label) for label in labels or ()}
        splits = node_table.table.cells(split) if split else None
        parts = (node_table.classes_NF, node_table.values_NV, columns, splits, names.tolist())
        super().__init__(edges_2E, *parts, fanout, records, seed, field)


class Karate(NodeSource):
    """Zachary's karate club (1977), as PyTorch Geometric brings it: 34 members, their friendships, four communities.

    Members carry nothing but their name, of which the first of `dims` random signs stand in: raw features say nothing
    of a member's friends. The label "community" is that of modularity-based clustering (Kipf and Welling 2017).

    Args:
        dims: numbers that a member's name is turned into.
        fanout: edges followed at each step away from a member.
        seed: of the draws.
        field: the name under which records carry their neighborhood.
    """

    def __init__(self, dims: int = 16, fanout: tuple[int, ...] = (20, 20), seed: int = 0, field: str = "graph") -> None:
        from torch_geometric.datasets import KarateClub

        data = KarateClub()[0]
        values = np.sign(np.random.default_rng(seed).standard_normal((data.num_nodes, dims)))
        labels = {"community": data.y.tolist()}
        nothing = np.zeros((data.num_nodes, 0), np.int64)
        super().__init__(data.edge_index.numpy(), nothing, values, labels, None, None, fanout, None, seed, field)


class StochasticBlocks(NodeSource):
    """A made graph: nodes of a class know each other more often than strangers, and carry noisy hints of their class.

    The label "class" is the block (Holland et al. 1983). Numbers that a node carries are normal with deviation 1
    around a center of its class, whose own deviation is `signal`.

    Args:
        nodes: how many there are.
        classes: how many blocks of equal size.
        inside: mean number of a node's neighbors of its own class.
        outside: mean number of its neighbors of all other classes.
        dims: numbers that a node carries.
        signal: how far apart the centers of classes are.
        fanout: edges followed at each step away from a node.
        records: how many nodes, drawn by the seed, are records; None is all of them. The graph keeps all.
        seed: of the graph and of the draws.
        field: the name under which records carry their neighborhood.
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
            raise RecipeError(f"Blocks are two at least, and none is empty, not {classes} of {nodes} nodes.")
        rng = np.random.default_rng(seed)
        block_N = np.arange(nodes) % classes
        near, far = (rng.poisson(nodes * mean / 2) for mean in (inside, outside))
        one = rng.integers(0, nodes, near)
        other = rng.integers(0, nodes // classes, near) * classes + block_N[one]
        step = rng.integers(1, classes, far)  # to another block, each alike
        start = rng.integers(0, nodes, far)
        end = rng.integers(0, nodes // classes, far) * classes + (block_N[start] + step) % classes
        edges_2E = np.stack([np.concatenate([one, start]), np.concatenate([other, end])])
        centers_CV = signal * rng.standard_normal((classes, dims))
        values_NV = centers_CV[block_N] + rng.standard_normal((nodes, dims))
        nothing = np.zeros((nodes, 0), np.int64)
        labels = {"class": block_N.tolist()}
        edges_2E = edges_2E[:, edges_2E[0] != edges_2E[1]]
        super().__init__(edges_2E, nothing, values_NV, labels, None, None, fanout, records, seed, field)
