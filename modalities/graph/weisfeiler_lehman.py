"""Weisfeiler-Lehman subtree features (Shervashidze et al. 2011), hashed (Weinberger et al. 2009).

A node's first color is its categorical features. Each iteration maps its color and the multiset of its neighbors'
colors to a new one. Colors are hashes of 64 bits, so that nothing is fitted and collisions are unlikely; their counts
are hashed into a fixed number of bins.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.modalities.graph.batch import GraphBatch

ITERATIONS, WIDTH = 3, 1024


def weisfeiler_lehman(batch: GraphBatch, iterations: int = ITERATIONS, width: int = WIDTH) -> Tensor:
    """Return counts of the colors of all iterations in each graph: float32 (B, width), width a power of 2.

    Categorical node and edge features count, numeric ones do not.
    """
    color_N = _hash_rows(batch.x)
    edge_E = _hash_rows(batch.edge_attr)
    source_E, target_E = batch.edge_index
    counts = torch.zeros(len(batch) * width, device=batch.device)
    for iteration in range(iterations + 1):
        if iteration:
            message_N = torch.zeros_like(color_N).index_add(0, target_E, _mix(color_N[source_E] + edge_E))
            color_N = _mix(color_N * 3 + message_N * 5 + iteration)
        bin_N = (_mix(color_N) >> 20) & (width - 1)
        counts += (batch.graph_index * width + bin_N).bincount(minlength=len(counts))
    return counts.view(len(batch), width)


def _hash_rows(categories_NF: Tensor) -> Tensor:
    """Return a hash of 64 bits of each row of category ids."""
    code_N = torch.ones(len(categories_NF), dtype=torch.int64, device=categories_NF.device)
    for column_N in categories_NF.T:
        code_N = _mix(code_N + column_N)
    return code_N


def _mix(code_N: Tensor) -> Tensor:
    """Return hashes of 64 bits (the finalizer of MurmurHash3)."""
    for shift, factor in ((33, -0xAE502812AA7333), (33, -0x3B314601E57A13AD), (33, 1)):
        code_N = code_N ^ ((code_N >> shift) & ((1 << 64 - shift) - 1))
        code_N = code_N * factor
    return code_N
