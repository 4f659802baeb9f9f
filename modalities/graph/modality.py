"""The graph modality."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import one_hot

from sensorium import BadSample, Modality, check_range
from sensorium.errors import DataError
from sensorium.modalities.graph.batch import Graph, GraphBatch, Schema
from sensorium.modalities.graph.decode import as_graph, to_undirected, with_degree
from sensorium.modalities.graph.draw import draw
from sensorium.modalities.graph.weisfeiler_lehman import weisfeiler_lehman

MAX_DEGREE = 64
"""Degrees of this number and above share one category, where the degree replaces missing node features."""
CATEGORICAL = ("x", "edge_attr")
NUMERIC = ("values", "edge_values")


class GraphModality(Modality):
    """Graphs with categorical and numeric features of nodes and edges, or with none.

    A raw value is a `Graph`, PyTorch Geometric's `Data`, or a mapping with `edge_index` (2, e) and any of `x`,
    `values`, `edge_attr`, `edge_values` and `num_nodes`. Integer features are categorical, float features numeric. The
    categories are those of the train part; any other has id 0. Nodes without features get their degree as one.

    Args:
        directed: keep edges as they are; otherwise missing reverse edges are added.
        max_degree: add the node degree as a categorical feature, degrees of this number and above in one category; 0
            adds it only to graphs without node features.
        scale: "standard" scales numeric features to mean 0 and standard deviation 1 over the train part; "none" leaves
            them.
        rooted: each graph is the neighborhood of its first node, the root, as the source `nodes` gives them.
        max_nodes: largest number of nodes of a graph; larger graphs are skipped as unreadable. None has no limit.
    """

    def __init__(
        self,
        directed: bool = False,
        max_degree: int = 0,
        scale: Literal["standard", "none"] = "standard",
        rooted: bool = False,
        max_nodes: int | None = None,
    ) -> None:
        check_range("modality 'graph'", "[0, inf)", max_degree=max_degree)
        self.directed, self.scale, self.rooted = directed, scale, rooted
        self.max_degree, self.max_nodes = max_degree, max_nodes
        self._categories: dict[str, list[Tensor]] | None = None
        self._scales: dict[str, tuple[Tensor, Tensor]] = {}

    def decode(self, raw: Any) -> Graph:
        """Turn a raw value into a graph of category ids and scaled numeric features.

        Raises:
            BadSample: when the value is not a graph, has no node, an edge to a missing node, non-finite features, or
                other features than the train part.
        """
        graph = self._read(raw)
        parts: dict[str, Tensor | None] = {}
        assert self._categories is not None, "decode is called after fit"
        for name in CATEGORICAL:
            columns, raw_NF = self._categories[name], getattr(graph, name)
            _check_width(name, len(columns), raw_NF)
            parts[name] = _ids(raw_NF, columns) if columns else None
        for name in NUMERIC:
            center_V, std_V = self._scales[name]
            raw_NV = getattr(graph, name)
            _check_width(name, len(center_V), raw_NV)
            parts[name] = ((raw_NV.double() - center_V) / std_V).float() if len(center_V) else None
            if len(center_V) and not parts[name].isfinite().all():  # type: ignore[union-attr]
                raise BadSample("a numeric feature overflows float32")
        return Graph(graph.edge_index, **parts, num_nodes=len(graph))

    def _read(self, raw: Any) -> Graph:
        """Return a raw value as a graph with its raw features."""
        graph = as_graph(raw)
        if self.max_nodes is not None and len(graph) > self.max_nodes:
            raise BadSample(f"the graph has {len(graph)} nodes, more than max_nodes = {self.max_nodes}")
        graph = graph if self.directed else to_undirected(graph)
        featureless = graph.x is None and graph.values is None
        return with_degree(graph, self.max_degree or MAX_DEGREE) if self.max_degree or featureless else graph

    def collate(self, examples: Sequence[Graph]) -> GraphBatch:
        """Join graphs into one batch."""
        return GraphBatch.join(examples)

    def fit(self, raws: Iterable[Any]) -> None:
        """Learn the categories of categorical features, and mean and std of numeric ones, from the train part.

        Raises:
            DataError: when no raw value is a graph, or the graphs do not have the same features.
        """
        categories: dict[str, list[set[int]]] = {}
        sums: dict[str, list[Tensor]] = {}
        count = 0
        for graph in self._readable(raws):
            count += 1
            for name in CATEGORICAL:
                found = getattr(graph, name)
                columns = [] if found is None else [set(column.unique().tolist()) for column in found.T]
                _check_same_features(name, categories.setdefault(name, [set() for _ in columns]), columns)
                for known, new in zip(categories[name], columns, strict=True):
                    known |= new
            for name in NUMERIC:
                found = getattr(graph, name)
                rows_NV = torch.zeros(0, 0) if found is None else found.double()
                seen = [torch.full((rows_NV.shape[1],), len(rows_NV)), rows_NV.sum(0), rows_NV.square().sum(0)]
                _check_same_features(name, sums.setdefault(name, [0 * part for part in seen])[0], seen[0])
                sums[name] = [old + new for old, new in zip(sums[name], seen, strict=True)]
        if not count:
            raise DataError("The train part has no readable graph: look at its records.")
        self._categories = {
            name: [torch.tensor(sorted(column)) for column in columns] for name, columns in categories.items()
        }
        self._scales = {name: self._scale(*parts) for name, parts in sums.items()}

    def _readable(self, raws: Iterable[Any]) -> Iterator[Graph]:
        """Iterate over the readable graphs; unreadable ones are counted when they are decoded."""
        for raw in raws:
            try:
                yield self._read(raw)
            except BadSample:
                continue

    def _scale(self, count_V: Tensor, sum_V: Tensor, squares_V: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of numeric features; the deviation of a constant feature is 1."""
        if self.scale == "none":
            return torch.zeros(len(sum_V), dtype=torch.float64), torch.ones(len(sum_V), dtype=torch.float64)
        mean_V = sum_V / count_V.clamp(min=1)
        variance_V = squares_V / count_V.clamp(min=1) - mean_V.square()
        std_V = variance_V.clamp(min=0).sqrt()
        return mean_V.double(), torch.where(std_V > 1e-6 * mean_V.abs() + 1e-12, std_V, 1.0).double()

    @property
    def is_fitted(self) -> bool:
        """Whether categories and scales are known."""
        return self._categories is not None

    def state(self) -> dict[str, Any]:
        """Return the categories of categorical features, and mean and standard deviation of numeric ones."""
        if self._categories is None:
            return {}
        categories = {name: [column.tolist() for column in columns] for name, columns in self._categories.items()}
        return {"categories": categories, "scales": {n: [part.tolist() for part in s] for n, s in self._scales.items()}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        if state:
            self._categories = {n: [torch.tensor(c) for c in columns] for n, columns in state["categories"].items()}
            scales = state["scales"].items()
            self._scales = {n: tuple(torch.tensor(part, dtype=torch.float64) for part in s) for n, s in scales}  # type: ignore[misc]

    @property
    def schema(self) -> Schema:
        """The node and edge features, once fitted; category 0 of each feature is any that the train part lacks."""
        assert self._categories is not None, "the schema is known after fit"
        nodes, edges = (tuple(len(column) + 1 for column in self._categories[name]) for name in CATEGORICAL)
        values, edge_values = (len(self._scales[name][0]) for name in NUMERIC)
        return Schema(nodes, values, edges, edge_values, self.rooted)

    def caption(self, raw: Any) -> str | None:
        """Return the numbers of nodes and edges."""
        try:
            graph = as_graph(raw)
        except BadSample:
            return None
        return f"{len(graph)} nodes, {graph.edge_index.shape[1]} edges"

    def describe(self, raw: Any, example: Graph) -> dict[str, float | bool | str]:
        """Return the numbers of nodes and of directed edges, and whether there are none of these."""
        edges = example.edge_index.shape[1]
        return {"nodes": len(example), "directed edges": edges, "without edges": not edges}

    def preview(self, example: Graph) -> Image.Image:
        """Draw a graph on 256 x 256 pixels, nodes colored by their first categorical feature."""
        return draw(example)

    def examples(self, batch: GraphBatch) -> list[Graph]:
        """Split a batch into graphs."""
        return list(batch.graphs())

    @property
    def baseline_description(self) -> str:
        """The kind of counts; of rooted graphs, the root's."""
        return "node features of the root" if self.rooted else "Weisfeiler-Lehman subtree counts"

    def baseline_features(self, batch: GraphBatch) -> np.ndarray:
        """Return Weisfeiler-Lehman subtree counts, and mean and standard deviation of the numeric node features.

        Counts are over three iterations and hashed. For rooted graphs: the raw features of the root instead.
        """
        if self.rooted:
            parts = [one_hot(batch.x[batch.first_node, i], size) for i, size in enumerate(self.schema.node_categories)]
            return torch.cat([*parts, batch.values[batch.first_node]], dim=1).float().cpu().numpy()
        values_BTV, mask_BT = batch.padded(batch.values)
        sizes_B1 = batch.layout.sizes_B[:, None]
        mean_BV = values_BTV.sum(1) / sizes_B1
        centered_BTV = (values_BTV - mean_BV[:, None]).masked_fill(~mask_BT[..., None], 0.0)
        std_BV = (centered_BTV.square().sum(1) / sizes_B1).sqrt()
        return torch.cat([weisfeiler_lehman(batch), mean_BV, std_BV], dim=1).float().cpu().numpy()


def _ids(raw_NF: Tensor, columns: list[Tensor]) -> Tensor:
    """Return the index of each category among the known ones, from 1; 0 for an unknown one."""
    ids = []
    for raw_N, known in zip(raw_NF.T.contiguous(), columns, strict=True):
        index_N = torch.searchsorted(known, raw_N).clamp(max=max(len(known) - 1, 0))
        ids.append(torch.where(known[index_N] == raw_N, index_N + 1, 0) if len(known) else torch.zeros_like(raw_N))
    return torch.stack(ids, dim=1)


def _check_width(name: str, width: int, found: Tensor | None) -> None:
    has = 0 if found is None else found.shape[1]
    if has != width:
        raise BadSample(f"the graph has {has} columns of {name}, the train part has {width}")


def _check_same_features(name: str, known: Any, found: Any) -> None:
    if len(known) != len(found):
        raise DataError(
            f"The graphs of the train part have different numbers of columns of {name}: {len(known)} and {len(found)}."
        )
