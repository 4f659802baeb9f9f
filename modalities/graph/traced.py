"""Which nodes of a graph the nodes of its view are, for drawings in which nodes keep their places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from PIL.Image import Image
from torch import Tensor

from sensorium import View
from sensorium.modalities.graph.batch import Graph


class TracedView(NamedTuple):
    """One view of a graph of n nodes.

    Args:
        graph: the view, of m nodes.
        node_M: int64 (m,), the node of the original that each node of the view is.
        masked_M: bool (m,), nodes of the view whose features are masked.
        marked_M: bool (m,), nodes of the view that its generator marks, such as the anchors of a context graph.
    """

    graph: Graph
    node_M: Tensor
    masked_M: Tensor
    marked_M: Tensor

    @property
    def edges(self) -> set[tuple[int, int]]:
        """The edges between nodes of the original, each once, the smaller node first."""
        return undirected(self.node_M[self.graph.edge_index])


def undirected(edges_2E: Tensor) -> set[tuple[int, int]]:
    """Return the pairs of adjacent nodes, the smaller one first."""
    return {(min(pair), max(pair)) for pair in edges_2E.T.tolist()}


def traced(original: Graph, view: View, row: int, graph: Graph) -> TracedView | None:
    """Return where the nodes of a view are in the original; None where nothing tells.

    Args:
        original: of n nodes.
        view: with "kept_nodes" (B, T) in its `info` where it has fewer nodes than the original.
        row: of the graph in the view.
        graph: that row of the view, of m nodes.
    """
    n, m = len(original), len(graph)

    def of_original(name: str) -> Tensor:
        return view.info[name][row, :n] if name in view.info else torch.zeros(n, dtype=torch.bool)

    node_M = of_original("kept_nodes").nonzero()[:, 0] if "kept_nodes" in view.info else torch.arange(n)
    if len(node_M) != m:
        return None
    marked_M = view.info["anchors"][row, :m] if "anchors" in view.info else torch.zeros(m, dtype=torch.bool)
    return TracedView(graph, node_M, of_original("masked_nodes")[node_M], marked_M)


def drawn_views(
    originals: Sequence[Graph],
    views: Sequence[View],
    examples: Callable[[Any], Sequence[Graph]],
    draw_view: Callable[[Graph, TracedView], Image],
    draw: Callable[[Graph], Image],
) -> list[list[Image]]:
    """Return drawings of the views of some graphs: beside their originals, or alone where nothing tells their nodes.

    Args:
        originals: B graphs.
        views: of at most as many rows.
        examples: splits a batch into graphs.
        draw_view: draws a view of an original.
        draw: draws a graph.
    """

    def drawing(original: Graph, view: View, row: int, graph: Graph) -> Image:
        trace = traced(original, view, row, graph)
        return draw(graph) if trace is None else draw_view(original, trace)

    return [
        [
            drawing(original, view, row, graph)
            for row, (original, graph) in enumerate(zip(originals, examples(view.batch), strict=False))
        ]
        for view in views
    ]
