"""Counts of the neighborhoods in a graph, as Weisfeiler and Lehman tell them apart.

A node's color is at first what it carries. In every round it becomes the color of its old one and of those of its
neighbors, however they are ordered. Colors are numbers of 64 bits, so that nothing is fitted and no two are likely
to meet; their counts are hashed into a fixed number of places (Shervashidze et al. 2011; Weinberger et al. 2009).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.modalities.graph.batch import GraphBatch

ROUNDS, WIDTH = 3, 1024


def weisfeiler_lehman(batch: GraphBatch, rounds: int = ROUNDS, width: int = WIDTH) -> Tensor:
    """Return how often each color of rounds 0 to `rounds` stands in each graph: float32 (B, width), width 2 ** k.

    Classes of nodes and edges count, numbers do not.
    """
    color_N = _folded(batch.x)
    edge_E = _folded(batch.edge_attr)
    source_E, sink_E = batch.edge_index
    counts = torch.zeros(len(batch) * width, device=batch.device)
    for turn in range(rounds + 1):
        if turn:
            heard_N = torch.zeros_like(color_N).index_add(0, sink_E, _mixed(color_N[source_E] + edge_E))
            color_N = _mixed(color_N * 3 + heard_N * 5 + turn)
        place_N = (_mixed(color_N) >> 20) & (width - 1)
        counts += (batch.graph * width + place_N).bincount(minlength=len(counts))
    return counts.view(len(batch), width)


def _folded(classes_NF: Tensor) -> Tensor:
    """Return one number of 64 bits for each row of classes."""
    code_N = torch.ones(len(classes_NF), dtype=torch.int64, device=classes_NF.device)
    for column_N in classes_NF.T:
        code_N = _mixed(code_N + column_N)
    return code_N


def _mixed(code_N: Tensor) -> Tensor:
    """Return numbers of 64 bits whose every bit hangs on all of the given ones (the finaliser of MurmurHash3)."""
    for shift, factor in ((33, -0xAE502812AA7333), (33, -0x3B314601E57A13AD), (33, 1)):
        code_N = code_N ^ ((code_N >> shift) & ((1 << 64 - shift) - 1))
        code_N = code_N * factor
    return code_N
