"""GPS graph transformer: message passing and global attention in each layer.

Letters as in `sensorium.modalities.graph.batch`; H width of the hidden node features.
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
from sensorium.modalities.graph.encoders.base import GraphEncoder
from sensorium.modalities.graph.encoders.positional_encoding import PositionalEncodingKind

MAX_PAIRS = 1 << 22
"""Most padded query-key pairs of the graphs that attend in one call; a larger graph attends by itself."""


class GlobalAttention(nn.Module):
    """Multi-head attention of every node to all nodes of its graph.

    Args:
        width: H, width of the node features, divisible by `heads`.
        heads: number of attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.output = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x_NH: Tensor, graph_N: Tensor) -> Tensor:
        """Return the attention output (N, H). Graphs of similar size are padded together."""
        sizes_B = graph_N.bincount()
        qkv_NC = self.qkv(x_NH)
        out_NH = torch.zeros_like(x_NH)
        for graphs_M in _by_size(sizes_B):
            chosen_B = torch.zeros_like(sizes_B, dtype=torch.bool)
            chosen_B[graphs_M] = True
            chosen_N = chosen_B[graph_N].nonzero()[:, 0]
            padded_MTC, mask_MT = padded(qkv_NC[chosen_N], sizes_B[chosen_B])
            q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in padded_MTC.chunk(3, dim=2))
            attn_mask = None if mask_MT.all() else mask_MT[:, None, None, :]
            out_MTH = F.scaled_dot_product_attention(q, k, v, attn_mask).transpose(1, 2).flatten(2)
            out_NH = out_NH.index_copy(0, chosen_N, out_MTH[mask_MT])
        return self.output(out_NH)


def _by_size(sizes_B: Tensor) -> Iterator[Tensor]:
    """Yield the indices of non-empty graphs in groups of similar size: int64 (M,) each."""
    order = sizes_B.argsort()
    group: list[int] = []
    for graph, size in zip(order.tolist(), sizes_B[order].tolist(), strict=True):
        if not size:
            continue
        if group and (len(group) + 1) * size * size > MAX_PAIRS:
            yield torch.tensor(group, device=sizes_B.device)
            group = []
        group.append(graph)
    if group:
        yield torch.tensor(group, device=sizes_B.device)


class GPSLayer(nn.Module):
    """GINE message passing and global attention in parallel, then an MLP; pre-norm, residual connections."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        inner = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.local, self.attention = GINEConv(inner), GlobalAttention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_NH: Tensor, edge_index: Tensor, edge_EH: Tensor | None, graph_N: Tensor) -> Tensor:
        """Return the node features after one layer."""
        normed_NH = self.norms[0](x_NH)
        local_NH, global_NH = self.local(normed_NH, edge_index, edge_EH), self.attention(normed_NH, graph_N)
        x_NH = x_NH + self.dropout(local_NH) + self.dropout(global_NH)
        return x_NH + self.dropout(self.mlp(self.norms[1](x_NH)))


class GPS(GraphEncoder):
    """General, powerful, scalable graph transformer with edge features (GPS, Rampasek et al. 2022, eq. 1 to 4).

    Its layers are pre-norm with layer norm, so that a batch of one graph trains as well.

    Args:
        width: hidden width of the node features, divisible by `heads`.
        heads: number of attention heads.
        dropout: dropout probability of each residual branch.
    """

    reads_edges = True

    def __init__(
        self,
        modality: Any,
        width: int = 64,
        heads: int = 4,
        dropout: float = 0.0,
        positional_encoding: PositionalEncodingKind = "random-walk",
        **options: Any,
    ) -> None:
        if width % heads:
            raise RecipeError(f"The encoder 'gps' has a width of {width}, which is not divisible by its {heads} heads.")
        self.heads, self.branch_dropout = heads, dropout
        super().__init__(modality, width, positional_encoding=positional_encoding, **options)

    def layer(self, width: int) -> nn.Module:
        """Return a layer."""
        return GPSLayer(width, self.heads, self.branch_dropout)
