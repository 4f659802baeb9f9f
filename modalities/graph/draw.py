"""Drawings of graphs, and of their views with every node at the place that it has in the original."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable

import networkx as nx
import numpy as np
from PIL import Image, ImageDraw

from sensorium.modalities.graph.batch import Graph
from sensorium.modalities.graph.traced import TracedView, undirected

SIDE, MARGIN = 256, 14
MAX_NODES = 300
"""Number of nodes drawn at most, those nearest to the first; a note gives the total."""
ITERATIONS = 60
GRAY, FAINT, ADDED, DARK = (150, 150, 150), (208, 208, 208), (220, 90, 60), (60, 60, 60)
"""Edges; what a view has dropped; edges that it has added; outlines."""
Places = dict[int, tuple[float, float]]


def draw(graph: Graph) -> Image.Image:
    """Draw a graph on a white RGB image of 256 x 256 pixels, nodes colored by their first categorical feature."""
    image, pen = _paper()
    places = _layout(graph, pen)
    _draw_edges(pen, places, undirected(graph.edge_index), GRAY)
    for node in places:
        _draw_node(pen, places, node, _color(graph, node))
    return image


def draw_view(original: Graph, view: TracedView) -> Image.Image:
    """Draw a view of a graph where its nodes are in the original.

    Nodes and edges that it lacks are faint, edges that it adds are red, masked nodes are white with a cross, marked
    ones have a thick outline.
    """
    image, pen = _paper()
    places = _layout(original, pen)
    before, after = undirected(original.edge_index), view.edges
    _draw_edges(pen, places, before - after, FAINT)
    _draw_edges(pen, places, after & before, GRAY)
    _draw_edges(pen, places, after - before, ADDED)
    kept = {int(node): row for row, node in enumerate(view.node_M)}
    for node in places:
        if node not in kept:
            _draw_node(pen, places, node, "white", outline=FAINT)
            continue
        row = kept[node]
        masked, marked = bool(view.masked_M[row]), bool(view.marked_M[row])
        color = "white" if masked else _color(view.graph, row)
        _draw_node(pen, places, node, color, width=3 if marked else 1, cross=masked)
    return image


def _paper() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (SIDE, SIDE), "white")
    return image, ImageDraw.Draw(image)


def _layout(graph: Graph, pen: ImageDraw.ImageDraw) -> Places:
    """Return where the nodes are drawn, the same for the same graph."""
    network: nx.Graph = nx.Graph()
    network.add_nodes_from(range(len(graph)))
    network.add_edges_from(graph.edge_index.T.tolist())
    if len(graph) > MAX_NODES:
        near = [node for _, nodes in zip(range(MAX_NODES), nx.bfs_layers(network, 0), strict=False) for node in nodes]
        network = network.subgraph(near[:MAX_NODES])
        pen.text((4, 2), f"{len(network)} of {len(graph)} nodes", fill=GRAY)
    layout = nx.spring_layout(network, seed=0, iterations=ITERATIONS)
    xy_N2 = np.array([layout[node] for node in network])
    low_2, width_2 = xy_N2.min(0), np.maximum(np.ptp(xy_N2, axis=0), 1e-9)
    inside_N2 = MARGIN + (SIDE - 2 * MARGIN) * (xy_N2 - low_2) / width_2
    return dict(zip(network, map(tuple, inside_N2.tolist()), strict=True))


def _draw_edges(pen: ImageDraw.ImageDraw, places: Places, edges: Iterable[tuple[int, int]], color: object) -> None:
    for one, other in edges:
        if one not in places or other not in places:
            continue
        if one == other:
            x, y = places[one]
            pen.ellipse((x - 5, y - 12, x + 5, y), outline=color)  # type: ignore[arg-type]
        else:
            pen.line((*places[one], *places[other]), fill=color, width=2 if color == ADDED else 1)  # type: ignore[arg-type]


def _draw_node(
    pen: ImageDraw.ImageDraw,
    places: Places,
    node: int,
    color: str | tuple[int, ...],
    outline: tuple[int, ...] = DARK,
    width: int = 1,
    cross: bool = False,
) -> None:
    x, y = places[node]
    radius = (5 if len(places) <= 40 else 3) + width - 1
    pen.circle((x, y), radius, fill=color, outline=outline, width=width)
    if cross:
        half = radius * 0.6
        pen.line((x - half, y - half, x + half, y + half), fill=outline)
        pen.line((x - half, y + half, x + half, y - half), fill=outline)


def _color(graph: Graph, node: int) -> tuple[int, ...]:
    """Return a node's color, one for each category; consecutive categories have distant hues."""
    category = int(graph.x[node, 0]) if graph.x is not None and graph.x.shape[1] else 0
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(category * 0.618034 % 1, 0.55, 0.9))
