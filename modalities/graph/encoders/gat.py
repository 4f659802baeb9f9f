"""Graph attention network."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GATConv

from sensorium.errors import RecipeError
from sensorium.modalities.graph.encoders.base import GraphEncoder, NodeNorm


class GATLayer(nn.Module):
    """Graph attention over neighbors and self, ELU, residual connection, batch norm.

    Edge features enter the attention; the edge features of a self-loop are the mean over the node's incoming edges.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.conv, self.norm = GATConv(width, width // heads, heads, edge_dim=width, fill_value="mean"), NodeNorm(width)

    def forward(self, x_NH: Tensor, edge_index: Tensor, edge_EH: Tensor | None, graph_N: Tensor) -> Tensor:
        """Return the node features after one layer."""
        return self.norm(x_NH + F.elu(self.conv(x_NH, edge_index, edge_EH)))


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
