"""A graph as a small picture."""

from __future__ import annotations

import colorsys

import networkx as nx
import numpy as np
from PIL import Image, ImageDraw

from sensorium.modalities.graph.batch import Graph

SIDE, EDGE = 256, 14
MOST = 300
"""Up to so many nodes are drawn: those nearest to the first; a note says how many there are."""
ROUNDS = 60
GRAY = (150, 150, 150)


def draw(graph: Graph) -> Image.Image:
    """Draw a graph on a white RGB picture of 256 x 256 pixels, nodes in the color of their first class."""
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    ink = ImageDraw.Draw(picture)
    net: nx.Graph = nx.Graph()
    net.add_nodes_from(range(len(graph)))
    net.add_edges_from(graph.edge_index.T.tolist())
    if len(graph) > MOST:
        near = [node for _, nodes in zip(range(MOST), nx.bfs_layers(net, 0), strict=False) for node in nodes][:MOST]
        net = net.subgraph(near)
        ink.text((4, 2), f"{len(near)} of {len(graph)} nodes", fill=GRAY)
    places = nx.spring_layout(net, seed=0, iterations=ROUNDS)
    xy_N2 = np.array([places[node] for node in net])
    low_2, width_2 = xy_N2.min(0), np.maximum(np.ptp(xy_N2, axis=0), 1e-9)
    dots = dict(zip(net, (EDGE + (SIDE - 2 * EDGE) * (xy_N2 - low_2) / width_2).tolist(), strict=True))
    for one, other in net.edges:
        if one == other:
            x, y = dots[one]
            ink.ellipse((x - 5, y - 12, x + 5, y), outline=GRAY)
        else:
            ink.line((*dots[one], *dots[other]), fill=GRAY)
    radius = 5 if len(net) <= 40 else 3
    for node, dot in dots.items():
        ink.circle(dot, radius, fill=_color(graph, node), outline=(60, 60, 60))
    return picture


def _color(graph: Graph, node: int) -> tuple[int, ...]:
    """Return a node's color: one for each class, far from its neighbors' on the wheel."""
    kind = int(graph.x[node, 0]) if graph.x is not None and graph.x.shape[1] else 0
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(kind * 0.618034 % 1, 0.55, 0.9))
