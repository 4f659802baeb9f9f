"""Graph attention network.

Letters as in `sensorium.modalities.graph.encoders.message_passing`; A attention heads, C width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GATConv
from torch_geometric.utils import softmax

from sensorium.errors import RecipeError
from sensorium.losses.precision import at_least_fp32
from sensorium.modalities.graph.encoders.base import GraphEncoder, NodeNorm
from sensorium.modalities.graph.encoders.message_passing import MessageGraph, sum_at


class GraphAttention(GATConv):
    """PyTorch Geometric's attention over neighbors and self, computed without asking the device how many edges it has.

    A given self-loop gets no attention, as that of the node itself takes its place.
    """

    def forward(self, x_NH: Tensor, graph: MessageGraph) -> Tensor:  # type: ignore[override]
        """Return (N, heads x out_channels), at least fp32."""
        source_L, target_L = graph.looped_index
        x_NAC = at_least_fp32(self.lin(x_NH)).unflatten(1, (self.heads, self.out_channels))
        edge_LAC = self.lin_edge(graph.looped_features).unflatten(1, (self.heads, self.out_channels))
        from_NA, to_NA = ((x_NAC * weight).sum(-1) for weight in (self.att_src, self.att_dst))
        logit_LA = (
            from_NA.index_select(0, source_L) + to_NA.index_select(0, target_L) + (edge_LAC * self.att_edge).sum(-1)
        )
        logit_LA = F.leaky_relu(at_least_fp32(logit_LA), self.negative_slope)
        logit_LA = logit_LA.masked_fill(graph.looped_weight[:, None] == 0, -torch.inf)
        attention_LA = softmax(logit_LA, target_L, num_nodes=len(x_NH))
        message_LAC = attention_LA[..., None] * x_NAC.index_select(0, source_L)
        return sum_at(target_L, message_LAC, len(x_NH)).flatten(1) + self.bias


class GATLayer(nn.Module):
    """Graph attention over neighbors and self, ELU, residual connection, batch norm.

    Edge features enter the attention; the edge features of a self-loop are the mean over the node's incoming edges.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.conv, self.norm = GraphAttention(width, width // heads, heads, edge_dim=width), NodeNorm(width)

    def forward(self, x_NH: Tensor, graph: MessageGraph) -> Tensor:
        """Return the node features after one layer."""
        return self.norm(x_NH + F.elu(self.conv(x_NH, graph)))


class GAT(GraphEncoder):
    """Graph attention network with edge features (GAT, Velickovic et al. 2018, eq. 1 to 5).

    Args:
        width: hidden width of the node features, divisible by `heads`.
        heads: number of attention heads.
    """

    reads_edges = True

    def __init__(self, modality: Any, width: int = 64, heads: int = 4, **options: Any) -> None:
        if width % heads:
            raise RecipeError(f"The encoder 'gat' has a width of {width}, which is not divisible by its {heads} heads.")
        self.heads = heads
        super().__init__(modality, width, **options)

    def layer(self, width: int) -> nn.Module:
        """Return a layer."""
        return GATLayer(width, self.heads)
