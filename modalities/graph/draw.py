"""A drawing of a graph."""

from __future__ import annotations

import colorsys

import networkx as nx
import numpy as np
from PIL import Image, ImageDraw

from sensorium.modalities.graph.batch import Graph

SIDE, MARGIN = 256, 14
MAX_NODES = 300
"""Number of nodes drawn at most, those nearest to the first; a note gives the total."""
ITERATIONS = 60
GRAY = (150, 150, 150)


def draw(graph: Graph) -> Image.Image:
    """Draw a graph on a white RGB image of 256 x 256 pixels, nodes colored by their first categorical feature."""
    image = Image.new("RGB", (SIDE, SIDE), "white")
    pen = ImageDraw.Draw(image)
    network: nx.Graph = nx.Graph()
    network.add_nodes_from(range(len(graph)))
    network.add_edges_from(graph.edge_index.T.tolist())
    if len(graph) > MAX_NODES:
        near = [node for _, nodes in zip(range(MAX_NODES), nx.bfs_layers(network, 0), strict=False) for node in nodes][
            :MAX_NODES
        ]
        network = network.subgraph(near)
        pen.text((4, 2), f"{len(near)} of {len(graph)} nodes", fill=GRAY)
    layout = nx.spring_layout(network, seed=0, iterations=ITERATIONS)
    xy_N2 = np.array([layout[node] for node in network])
    low_2, width_2 = xy_N2.min(0), np.maximum(np.ptp(xy_N2, axis=0), 1e-9)
    dots = dict(zip(network, (MARGIN + (SIDE - 2 * MARGIN) * (xy_N2 - low_2) / width_2).tolist(), strict=True))
    for source, target in network.edges:
        if source == target:
            x, y = dots[source]
            pen.ellipse((x - 5, y - 12, x + 5, y), outline=GRAY)
        else:
            pen.line((*dots[source], *dots[target]), fill=GRAY)
    radius = 5 if len(network) <= 40 else 3
    for node, dot in dots.items():
        pen.circle(dot, radius, fill=_color(graph, node), outline=(60, 60, 60))
    return image


def _color(graph: Graph, node: int) -> tuple[int, ...]:
    """Return a node's color, one for each category; consecutive categories have distant hues."""
    category = int(graph.x[node, 0]) if graph.x is not None and graph.x.shape[1] else 0
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(category * 0.618034 % 1, 0.55, 0.9))
