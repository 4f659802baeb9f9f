"""GPS graph transformer: message passing and global attention in each layer.

Letters as in `sensorium.modalities.graph.batch`; H width of the hidden node features, C of queries, keys and values,
M nodes of the graphs that attend in one call.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GINEConv

from sensorium.errors import RecipeError
from sensorium.losses.precision import at_least_fp32
from sensorium.modalities.graph.encoders.base import GraphEncoder
from sensorium.modalities.graph.encoders.message_passing import MessageGraph
from sensorium.modalities.graph.encoders.positional_encoding import PositionalEncodingKind
from sensorium.modalities.graph.layout import RowLayout


class GlobalAttention(nn.Module):
    """Multi-head attention of every node to all nodes of its graph.

    Args:
        width: H, width of the node features, divisible by `heads`.
        heads: number of attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.output = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x_NH: Tensor, layout: RowLayout) -> Tensor:
        """Return the attention output (N, H). Graphs of similar size are padded together."""
        qkv_NC = self.qkv(x_NH)
        if not len(x_NH):  # no graph: weights have a gradient all the same
            return self.output(qkv_NC[:, : x_NH.shape[1]])
        out_NH = qkv_NC.new_zeros(x_NH.shape)
        for nodes_M, group in layout.size_groups:
            padded_BTC = group.pad(qkv_NC.index_select(0, nodes_M))
            q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in padded_BTC.chunk(3, dim=2))
            attn_mask = None if group.is_full else group.mask_BT[:, None, None, :]
            out_BTH = F.scaled_dot_product_attention(q, k, v, attn_mask).transpose(1, 2).flatten(2)
            out_NH = out_NH.index_copy(0, nodes_M, group.unpad(out_BTH))
        return self.output(out_NH)


class GPSLayer(nn.Module):
    """GINE message passing and global attention in parallel, then an MLP; pre-norm, residual connections."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        inner = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.local, self.attention = GINEConv(inner), GlobalAttention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_NH: Tensor, graph: MessageGraph) -> Tensor:
        """Return the node features after one layer."""
        normed_NH = at_least_fp32(self.norms[0](x_NH))  # the dtype of the sum over neighbors
        local_NH = self.local(normed_NH, graph.edge_index, graph.edge_EH)
        global_NH = self.attention(normed_NH, graph.layout)
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
