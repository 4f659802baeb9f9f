"""The graph modality."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import one_hot

from sensorium import BadSample, Modality, View, check_range
from sensorium.errors import DataError
from sensorium.modalities.graph.batch import Graph, GraphBatch, Schema
from sensorium.modalities.graph.columns import Columns, Features, Tally, chosen
from sensorium.modalities.graph.decode import as_graph, degree_of, to_undirected, with_degree
from sensorium.modalities.graph.descriptors import descriptor_names, descriptors
from sensorium.modalities.graph.draw import draw, draw_view
from sensorium.modalities.graph.random_graphs import random_graphs
from sensorium.modalities.graph.traced import drawn_views
from sensorium.modalities.graph.weisfeiler_lehman import weisfeiler_lehman

MAX_DEGREE = 64
"""Degrees of this number and above share one category, where the degree replaces missing node features."""
CATEGORICAL = ("x", "edge_attr")
NUMERIC = ("values", "edge_values")


class GraphModality(Modality):
    """Graphs with categorical and numeric features of nodes and edges, or with none.

    A raw value is a `Graph`, PyTorch Geometric's `Data`, a mapping with `edge_index` (2, e) and any of `x`, `values`,
    `edge_attr`, `edge_values` and `num_nodes`, or the path of a .json, .npz or .pt file with such a mapping.

    Integer features are categorical, float features numeric. The categories are those of the train part; any other has
    id 0. Where no graph has node features, the degree is one. Graphs need not agree in form: integers in some and
    floats in others are numeric features, and a graph without edges needs no edge features. A graph with other features
    than most is unreadable.

    Args:
        directed: keep edges as they are; otherwise missing reverse edges are added.
        max_degree: add the node degree as a categorical feature, degrees of this number and above in one category; 0
            adds it only to graphs without node features.
        scale: "standard" scales numeric features to mean 0 and standard deviation 1 over the train part; "none" leaves
            them.
        rooted: each graph is the neighborhood of its first node, the root, as the source `nodes` gives them.
        max_nodes: largest number of nodes of a graph; larger graphs are skipped as unreadable. None has no limit.
    """

    reads_files = True

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
        self._is_featureless = False

    def decode(self, raw: Any) -> Graph:
        """Turn a raw value into a graph of category ids and scaled numeric features.

        Raises:
            BadSample: when the value is not a graph, has no node, an edge to a missing node, non-finite features, or
                other features than the train part.
        """
        raw_graph = self._read(raw)
        assert self._categories is not None, "decode is called after fit"
        nodes = Features.of_nodes(raw_graph).brought_to(self._columns("x", "values"), "x")
        edges = Features.of_edges(raw_graph).brought_to(self._columns("edge_attr", "edge_values"), "edge_attr")
        graph = Graph(raw_graph.edge_index, *nodes[:2], *edges[:2], len(raw_graph))
        if self._adds_degree:
            graph = with_degree(graph, self.max_degree or MAX_DEGREE)
        parts: dict[str, Tensor | None] = {}
        for name in CATEGORICAL:
            columns, raw_NF = self._categories[name], getattr(graph, name)
            parts[name] = _ids(raw_NF, columns) if columns else None
        for name in NUMERIC:
            center_V, std_V = self._scales[name]
            raw_NV = getattr(graph, name)
            parts[name] = ((raw_NV.double() - center_V) / std_V).float() if len(center_V) else None
            if len(center_V) and not parts[name].isfinite().all():  # type: ignore[union-attr]
                raise BadSample("a numeric feature overflows float32", "non-finite")
        return Graph(graph.edge_index, **parts, num_nodes=len(graph))

    def _read(self, raw: Any) -> Graph:
        """Return a raw value as a graph with its raw features."""
        graph = as_graph(raw)
        if self.max_nodes is not None and len(graph) > self.max_nodes:
            raise BadSample(f"the graph has {len(graph)} nodes, more than max_nodes = {self.max_nodes}", "too-large")
        return graph if self.directed else to_undirected(graph)

    def collate(self, examples: Sequence[Graph]) -> GraphBatch:
        """Join graphs into one batch."""
        return GraphBatch.join(examples)

    def fit(self, raws: Iterable[Any]) -> None:
        """Learn the features of the train part: categories of categorical ones, mean and std of numeric ones.

        Where graphs differ, the features are those of most of them; a graph that cannot be brought to these is
        unreadable.

        Raises:
            DataError: when no raw value is a graph.
        """
        nodes: dict[Columns, Tally] = {}
        edges: dict[Columns, Tally] = {}
        degrees: set[int] = set()
        for graph in self._readable(raws):
            for tallies, found in ((nodes, Features.of_nodes(graph)), (edges, Features.of_edges(graph))):
                if found.rows:
                    tallies.setdefault(found.columns, Tally(found.columns)).add(found)
            if self.max_degree or not any(Features.of_nodes(graph).columns):
                degrees |= set(degree_of(graph, self.max_degree or MAX_DEGREE).unique().tolist())
        if not nodes:
            raise DataError("The train part has no readable graph: look at its records.")
        of_nodes, of_edges = chosen(nodes), chosen(edges) if edges else Tally(Columns(0, 0))
        self._is_featureless = of_nodes.columns == (0, 0)
        found_categories = {
            "x": [*of_nodes.categories, *[degrees] * self._adds_degree],
            "edge_attr": of_edges.categories,
        }
        self._categories = {
            name: [torch.tensor(sorted(column)) for column in columns] for name, columns in found_categories.items()
        }
        self._scales = {"values": self._scale(*of_nodes.moments), "edge_values": self._scale(*of_edges.moments)}

    def _readable(self, raws: Iterable[Any]) -> Iterator[Graph]:
        """Iterate over the readable graphs; unreadable ones are counted when they are decoded."""
        for raw in raws:
            try:
                yield self._read(raw)
            except BadSample:
                continue

    @property
    def _adds_degree(self) -> bool:
        """Whether the degree is a categorical feature of nodes, the last."""
        return bool(self.max_degree) or self._is_featureless

    def _columns(self, categorical: str, numeric: str) -> Columns:
        """Return the numbers of columns that raw graphs have."""
        assert self._categories is not None, "columns are known after fit"
        has_degree = categorical == "x" and self._adds_degree
        return Columns(len(self._categories[categorical]) - has_degree, len(self._scales[numeric][0]))

    def notes(self, raws: Sequence[Any]) -> list[str]:
        """Say which features nodes and edges have, and which graphs are brought to them."""
        nodes, edges = self._columns("x", "values"), self._columns("edge_attr", "edge_values")
        graphs = list(self._readable(raws))
        said = [
            "node features: "
            + ("none, their degree takes the place" if self._is_featureless else f"{nodes}")
            + f"; edge features: {edges if any(edges) else 'none'} (integers are categories, floats are numbers)"
        ]
        for name, columns, features in (("x", nodes, Features.of_nodes), ("edge_attr", edges, Features.of_edges)):
            cast = sum(features(graph).columns == columns.other_kind != columns for graph in graphs)
            if cast:
                kinds = ("float", "integers") if columns.categorical else ("integer", "numbers")
                said.append(
                    f"{name} is {kinds[0]} in {cast} of {len(graphs)} graphs: read as {kinds[1]} as in the others"
                )
        edgeless = sum(not graph.edge_index.numel() for graph in graphs)
        return said + [f"{edgeless} of {len(graphs)} graphs have no edges"] * bool(edgeless)

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
        scales = {name: [part.tolist() for part in parts] for name, parts in self._scales.items()}
        return {"categories": categories, "scales": scales, "featureless": self._is_featureless}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        if state:
            self._categories = {n: [torch.tensor(c) for c in columns] for n, columns in state["categories"].items()}
            scales = state["scales"].items()
            self._scales = {n: tuple(torch.tensor(part, dtype=torch.float64) for part in s) for n, s in scales}  # type: ignore[misc]
            self._is_featureless = state.get("featureless", False)

    @property
    def schema(self) -> Schema:
        """The node and edge features, once fitted; category 0 of each feature is any that the train part lacks."""
        assert self._categories is not None, "the schema is known after fit"
        nodes, edges = (tuple(len(column) + 1 for column in self._categories[name]) for name in CATEGORICAL)
        values, edge_values = (len(self._scales[name][0]) for name in NUMERIC)
        return Schema(nodes, values, edges, edge_values, self.rooted)

    def caption(self, raw: Any) -> str | None:
        """Return the path of a file, or the numbers of nodes and edges."""
        if (path := super().caption(raw)) is not None:
            return path
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

    def preview_views(self, batch: GraphBatch, views: Sequence[View]) -> list[list[Image.Image]]:  # type: ignore[override]
        """Draw views with every node where it is in the original: what is dropped faint, what is masked crossed."""
        return drawn_views(self.examples(batch), views, self.examples, draw_view, self.preview)

    def examples(self, batch: GraphBatch) -> list[Graph]:
        """Split a batch into graphs."""
        return list(batch.graphs())

    def random_batch(self, count: int, is_long: bool, rng: torch.Generator) -> GraphBatch:
        """Return random trees with features of its schema."""
        return random_graphs(self.schema, count, is_long, rng)

    @property
    def descriptor_names(self) -> tuple[str, ...]:
        """Structure, moments of numeric node features, and hashed log counts of Weisfeiler-Lehman neighborhoods."""
        return descriptor_names(self.schema.node_values)

    def descriptors(self, example: Graph) -> np.ndarray:
        """Return the descriptors of a graph, float32 (P,)."""
        return descriptors(example, self.schema.node_values)

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
