"""Descriptors of graphs: size, degrees, triangles, components, node features, and counts of small neighborhoods.

Letters: n nodes, V numeric node features.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sensorium.modalities.graph.batch import Graph, GraphBatch
from sensorium.modalities.graph.weisfeiler_lehman import weisfeiler_lehman

ITERATIONS, BINS = 2, 64
"""Weisfeiler-Lehman iterations, and bins of their hashed counts."""
STRUCTURE = (
    *("log number of nodes", "log number of edges", "density", "mean degree", "standard deviation of the degree"),
    *("largest degree", "fraction of leaves", "fraction of nodes without an edge"),
    *("log number of components", "fraction of nodes in the largest component"),
    *("log number of triangles", "transitivity", "assortativity of the degree"),
)


def descriptor_names(values: int) -> tuple[str, ...]:
    """Return the names of the descriptors of graphs with so many numeric node features."""
    means = [f"{what} of node value {v}" for what in ("mean", "standard deviation") for v in range(values)]
    return (*STRUCTURE, *means, *(f"log count of neighborhoods in bin {i}" for i in range(BINS)))


def descriptors(graph: Graph, values: int) -> np.ndarray:
    """Return the descriptors of a graph, float32 (P,), nan where undefined.

    Args:
        graph: with at least one node.
        values: V.
    """
    counts = weisfeiler_lehman(GraphBatch.join([graph]), ITERATIONS, BINS)[0].log1p().numpy()
    moments = np.zeros(0)
    if values:
        assert graph.values is not None, "its modality has numeric node features"
        values_nV = graph.values.double()
        moments = torch.cat([values_nV.mean(0), values_nV.std(0, correction=0)]).numpy()
    return np.concatenate([_structure(graph), moments, counts]).astype(np.float32)


def _structure(graph: Graph) -> np.ndarray:
    """Return numbers of the graph without directions, multiple edges and loops."""
    n, (source, target) = len(graph), graph.edge_index.numpy()
    ones = np.ones(2 * len(source))
    both = np.concatenate([source, target]), np.concatenate([target, source])
    adjacency = coo_array((ones, both), shape=(n, n)).tocsr()
    adjacency.setdiag(0)
    adjacency.eliminate_zeros()
    adjacency.data[:] = 1
    degree_n = np.asarray(adjacency.sum(1)).ravel()
    edges, possible = degree_n.sum() / 2, n * (n - 1) / 2
    _, component_n = connected_components(adjacency, directed=False)
    sizes = np.bincount(component_n)
    corners = (adjacency @ adjacency).multiply(adjacency).sum()  # six for each triangle
    wedges = (degree_n * (degree_n - 1)).sum()
    ends = adjacency.nonzero()
    ends_degree = degree_n[ends[0]], degree_n[ends[1]]
    varies = edges > 0 and ends_degree[0].std() > 0
    return np.array(
        [
            *(np.log(n), np.log1p(edges), edges / possible if possible else np.nan, degree_n.mean(), degree_n.std()),
            *(degree_n.max(), (degree_n == 1).mean(), (degree_n == 0).mean()),
            *(np.log(len(sizes)), sizes.max() / n),
            *(np.log1p(corners / 6), corners / wedges if wedges else np.nan),
            np.corrcoef(*ends_degree)[0, 1] if varies else np.nan,
        ]
    )
