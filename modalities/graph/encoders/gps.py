"""A transformer whose nodes hear from their neighbors and from all nodes of their graph.

Letters as in `sensorium.modalities.graph.batch`; H width of the nodes between layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GINEConv

from sensorium.errors import RecipeError
from sensorium.modalities.graph.batch import padded
from sensorium.modalities.graph.encoders.base import GraphEncoder, Jump, PositionKind
from sensorium.modalities.graph.encoders.pool import Pooling

ROOM = 1 << 22
"""Graphs attend together while their padded nodes make at most so many pairs; a larger one attends by itself."""


class Attention(nn.Module):
    """Every node attends to all nodes of its graph.

    Args:
        width: H, width of the nodes; `heads` divide it.
        heads: attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.enter, self.leave = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x_NH: Tensor, graph_N: Tensor) -> Tensor:
        """Return what nodes hear (N, H). Graphs of like size are padded together."""
        sizes_B = graph_N.bincount()
        three_NC = self.enter(x_NH)
        out_NH = torch.zeros_like(x_NH)
        for graphs_M in _alike(sizes_B):
            chosen_B = torch.zeros_like(sizes_B, dtype=torch.bool)
            chosen_B[graphs_M] = True
            mine_N = chosen_B[graph_N].nonzero()[:, 0]
            padded_MTC, mask_MT = padded(three_NC[mine_N], sizes_B[chosen_B])
            q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in padded_MTC.chunk(3, dim=2))
            seen = None if mask_MT.all() else mask_MT[:, None, None, :]
            heard_MTH = F.scaled_dot_product_attention(q, k, v, seen).transpose(1, 2).flatten(2)
            out_NH = out_NH.index_copy(0, mine_N, heard_MTH[mask_MT])
        return self.leave(out_NH)


def _alike(sizes_B: Tensor) -> Iterator[Tensor]:
    """Yield graphs in groups of like size, those without nodes left out: int64 (M,) each."""
    order = sizes_B.argsort()
    group: list[int] = []
    for graph, size in zip(order.tolist(), sizes_B[order].tolist(), strict=True):
        if not size:
            continue
        if group and (len(group) + 1) * size * size > ROOM:
            yield torch.tensor(group, device=sizes_B.device)
            group = []
        group.append(graph)
    if group:
        yield torch.tensor(group, device=sizes_B.device)


class Layer(nn.Module):
    """Neighbors and attention side by side, then a perceptron, each added to what came in, all before layer norm."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        inner = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.near, self.far = GINEConv(inner), Attention(width, heads)
        self.mix = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_NH: Tensor, edge_index: Tensor, edge_EH: Tensor | None, graph_N: Tensor) -> Tensor:
        """Return the nodes after one layer."""
        calm_NH = self.norms[0](x_NH)
        near_NH, far_NH = self.near(calm_NH, edge_index, edge_EH), self.far(calm_NH, graph_N)
        x_NH = x_NH + self.dropout(near_NH) + self.dropout(far_NH)
        return x_NH + self.dropout(self.mix(self.norms[1](x_NH)))


class GPS(GraphEncoder):
    """Graph transformer of the GPS kind (Rampasek et al. 2022, eq. 1 to 4) that hears what edges carry.

    Its layers norm what comes in, not what goes out, so that a batch of one graph trains as well.

    Args:
        width: width of the nodes between layers; `heads` divide it.
        heads: attention heads.
        dropout: of what is added to a node, while training.
    """

    reads_edges = True

    def __init__(
        self,
        modality: Any,
        width: int = 64,
        depth: int = 3,
        heads: int = 4,
        pool: Pooling = "mean",
        jump: Jump = "last",
        dropout: float = 0.0,
        positions: PositionKind = "walk",
        steps: int = 16,
    ) -> None:
        if width % heads:
            raise RecipeError(f"The encoder 'gps' has a width of {width}, which {heads} heads do not divide.")
        self.heads, self.within = heads, dropout
        super().__init__(modality, width, depth, pool, jump, 0.0, positions, steps)

    def layer(self, width: int) -> nn.Module:
        """Return a layer."""
        return Layer(width, self.heads, self.within)
