"""The graph modality."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import one_hot

from sensorium import BadSample, Modality
from sensorium.errors import DataError, RecipeError
from sensorium.modalities.graph.batch import Graph, GraphBatch, Schema
from sensorium.modalities.graph.decode import as_graph, both_ways, with_degree
from sensorium.modalities.graph.draw import draw
from sensorium.modalities.graph.weisfeiler_lehman import weisfeiler_lehman

DEGREES = 64
"""Degrees from here on are one class, where nodes carry nothing and their degree takes its place."""
COLUMNS = ("x", "edge_attr")
NUMBERS = ("values", "edge_values")


class GraphModality(Modality):
    """Graphs whose nodes and edges carry classes, numbers, both or nothing.

    A raw value is a `Graph`, PyTorch Geometric's `Data`, or a mapping with `edge_index` (2, e) and any of `x`,
    `values`, `edge_attr`, `edge_values` and `num_nodes`. Integers are classes, floats numbers. The classes of each
    column are those of the train part; any other is class 0. Nodes that carry nothing have their degree as a class.

    Args:
        directed: whether an edge leads one way only; otherwise edges whose way back is missing get it.
        degree: give nodes their degree as a class, this number and all above it being one; 0 does so only where they
            carry nothing else.
        scale: numbers have "standard" scale (mean 0 and deviation 1 over the train part) or "none".
        rooted: a graph's first node is what its record stands for: a neighborhood of it (the source `nodes`).
        nodes: the most nodes of a graph; larger ones are no samples. None takes any.
    """

    def __init__(
        self,
        directed: bool = False,
        degree: int = 0,
        scale: Literal["standard", "none"] = "standard",
        rooted: bool = False,
        nodes: int | None = None,
    ) -> None:
        if degree < 0:
            raise RecipeError(f"The modality 'graph' has a largest degree of 0 or more, not {degree}.")
        self.directed, self.degree, self.scale, self.rooted, self.nodes = directed, degree, scale, rooted, nodes
        self._classes: dict[str, list[Tensor]] | None = None
        self._scales: dict[str, tuple[Tensor, Tensor]] = {}

    def decode(self, raw: Any) -> Graph:
        """Turn a raw value into a graph of class ids and scaled numbers.

        Raises:
            BadSample: when the value is no graph, has no node, an edge to a node that is not there, numbers that are
                not finite, or other columns than the train part.
        """
        graph = self._read(raw)
        parts: dict[str, Tensor | None] = {}
        assert self._classes is not None, "decode is called after fit"
        for name in COLUMNS:
            columns, raw_NF = self._classes[name], getattr(graph, name)
            _same_width(name, len(columns), raw_NF)
            parts[name] = _ids(raw_NF, columns) if columns else None
        for name in NUMBERS:
            center_V, std_V = self._scales[name]
            raw_NV = getattr(graph, name)
            _same_width(name, len(center_V), raw_NV)
            parts[name] = ((raw_NV.double() - center_V) / std_V).float() if len(center_V) else None
            if len(center_V) and not parts[name].isfinite().all():  # type: ignore[union-attr]
                raise BadSample("a number is too large for single precision")
        return Graph(graph.edge_index, **parts, nodes=len(graph))

    def _read(self, raw: Any) -> Graph:
        """Return a raw value as a graph whose classes and numbers are as they came."""
        graph = as_graph(raw)
        if self.nodes is not None and len(graph) > self.nodes:
            raise BadSample(f"the graph has {len(graph)} nodes, the most is {self.nodes}")
        graph = graph if self.directed else both_ways(graph)
        bare = graph.x is None and graph.values is None
        return with_degree(graph, self.degree or DEGREES) if self.degree or bare else graph

    def collate(self, examples: Sequence[Graph]) -> GraphBatch:
        """Join graphs into one batch."""
        return GraphBatch.join(examples)

    def fit(self, raws: Iterable[Any]) -> None:
        """Learn the classes of each column, and mean and std of each column of numbers, from the train part.

        Raises:
            DataError: when there is no graph among the raw values, or they do not agree on their columns.
        """
        classes: dict[str, list[set[int]]] = {}
        sums: dict[str, list[Tensor]] = {}
        count = 0
        for graph in self._readable(raws):
            count += 1
            for name in COLUMNS:
                found = getattr(graph, name)
                columns = [] if found is None else [set(column.unique().tolist()) for column in found.T]
                _agree(name, classes.setdefault(name, [set() for _ in columns]), columns)
                for known, new in zip(classes[name], columns, strict=True):
                    known |= new
            for name in NUMBERS:
                found = getattr(graph, name)
                rows_NV = torch.zeros(0, 0) if found is None else found.double()
                seen = [torch.full((rows_NV.shape[1],), len(rows_NV)), rows_NV.sum(0), rows_NV.square().sum(0)]
                _agree(name, sums.setdefault(name, [0 * part for part in seen])[0], seen[0])
                sums[name] = [old + new for old, new in zip(sums[name], seen, strict=True)]
        if not count:
            raise DataError("The train part holds no graph that can be read; look at its records.")
        self._classes = {
            name: [torch.tensor(sorted(column)) for column in columns] for name, columns in classes.items()
        }
        self._scales = {name: self._scale(*parts) for name, parts in sums.items()}

    def _readable(self, raws: Iterable[Any]) -> Iterator[Graph]:
        """Return the graphs among raw values; what is none is counted when it is decoded."""
        for raw in raws:
            try:
                yield self._read(raw)
            except BadSample:
                continue

    def _scale(self, count_V: Tensor, sum_V: Tensor, squares_V: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of columns of numbers; a constant column has 1."""
        if self.scale == "none":
            return torch.zeros(len(sum_V), dtype=torch.float64), torch.ones(len(sum_V), dtype=torch.float64)
        mean_V = sum_V / count_V.clamp(min=1)
        variance_V = squares_V / count_V.clamp(min=1) - mean_V.square()
        std_V = variance_V.clamp(min=0).sqrt()
        return mean_V.double(), torch.where(std_V > 1e-6 * mean_V.abs() + 1e-12, std_V, 1.0).double()

    @property
    def is_fitted(self) -> bool:
        """Whether the columns are known."""
        return self._classes is not None

    def state(self) -> dict[str, Any]:
        """Return the classes of each column, and mean and standard deviation of each column of numbers."""
        if self._classes is None:
            return {}
        classes = {name: [column.tolist() for column in columns] for name, columns in self._classes.items()}
        return {"classes": classes, "scales": {n: [part.tolist() for part in s] for n, s in self._scales.items()}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        if state:
            self._classes = {n: [torch.tensor(c) for c in columns] for n, columns in state["classes"].items()}
            scales = state["scales"].items()
            self._scales = {n: tuple(torch.tensor(part, dtype=torch.float64) for part in s) for n, s in scales}  # type: ignore[misc]

    @property
    def schema(self) -> Schema:
        """What nodes and edges carry, once fitted; class 0 of every column is one that the train part lacks."""
        assert self._classes is not None, "the schema is known after fit"
        nodes, edges = (tuple(len(column) + 1 for column in self._classes[name]) for name in COLUMNS)
        values, edge_values = (len(self._scales[name][0]) for name in NUMBERS)
        return Schema(nodes, values, edges, edge_values, self.rooted)

    def preview(self, example: Graph) -> Image.Image:
        """Draw a graph on 256 x 256 pixels, neighbors near each other, nodes in the colors of their first class."""
        return draw(example)

    def examples(self, batch: GraphBatch) -> list[Graph]:
        """Take a batch apart into graphs."""
        return list(batch.graphs())

    def baseline_features(self, batch: GraphBatch) -> np.ndarray:
        """Return what the graphs say of themselves.

        Weisfeiler-Lehman counts of three rounds, hashed, beside mean and deviation of the nodes' numbers. Of rooted
        graphs, what the first node carries: the raw features that a single node is told by.
        """
        if self.rooted:
            parts = [one_hot(batch.x[batch.firsts, i], size) for i, size in enumerate(self.schema.nodes)]
            return torch.cat([*parts, batch.values[batch.firsts]], dim=1).float().cpu().numpy()
        values_BTV, mask_BT = batch.padded(batch.values)
        mean_BV = values_BTV.sum(1) / batch.sizes[:, None]
        away_BTV = (values_BTV - mean_BV[:, None]).masked_fill(~mask_BT[..., None], 0.0)
        std_BV = (away_BTV.square().sum(1) / batch.sizes[:, None]).sqrt()
        return torch.cat([weisfeiler_lehman(batch), mean_BV, std_BV], dim=1).float().cpu().numpy()


def _ids(raw_NF: Tensor, columns: list[Tensor]) -> Tensor:
    """Return the place of each class among the known ones, counted from 1; 0 for one that is not among them."""
    ids = []
    for raw_N, known in zip(raw_NF.T.contiguous(), columns, strict=True):
        place_N = torch.searchsorted(known, raw_N).clamp(max=max(len(known) - 1, 0))
        ids.append(torch.where(known[place_N] == raw_N, place_N + 1, 0) if len(known) else torch.zeros_like(raw_N))
    return torch.stack(ids, dim=1)


def _same_width(name: str, width: int, found: Tensor | None) -> None:
    has = 0 if found is None else found.shape[1]
    if has != width:
        raise BadSample(f"the graph has {has} columns of {name}, the train part {width}")


def _agree(name: str, known: Any, found: Any) -> None:
    if len(known) != len(found):
        raise DataError(
            f"The graphs of the train part do not agree on {name}: some have {len(known)} columns, some {len(found)}."
        )
