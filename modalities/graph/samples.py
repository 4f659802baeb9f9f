"""Sample graphs on which the conformance kit runs every part of the modality."""

from __future__ import annotations

import torch

from sensorium.modalities.graph.batch import Graph


def graphs() -> list[Graph]:
    """Return graphs with categorical and numeric node and edge features.

    Among them are a single node without edges, self-loops, duplicate edges, a disconnected graph and a directed one.
    """
    rng = torch.Generator().manual_seed(0)
    ring = torch.arange(6)
    edges = [
        torch.stack([torch.cat([ring, ring.roll(-1)]), torch.cat([ring.roll(-1), ring])]),
        torch.zeros(2, 0, dtype=torch.int64),
        torch.tensor([[0, 1, 1, 2, 2, 2], [1, 0, 2, 1, 2, 0]]),
        torch.tensor([[0, 0, 1, 1, 3, 4], [1, 1, 0, 0, 4, 3]]),
        torch.tensor([[0, 1, 2, 3, 0, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7, 8]]),
        torch.randint(0, 12, (2, 40), generator=rng),
    ]
    found = []
    for edge_index, nodes in zip(edges, (6, 1, 3, 5, 9, 12), strict=True):
        x = torch.randint(0, 4, (nodes, 2), generator=rng)
        values = torch.randn(nodes, 3, generator=rng)
        count = edge_index.shape[1]
        found.append(
            Graph(
                edge_index,
                x,
                values,
                torch.randint(0, 3, (count, 1), generator=rng),
                torch.rand(count, 1, generator=rng),
            )
        )
    return found
