"""Graph attention networks."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GATConv

from sensorium.errors import RecipeError
from sensorium.modalities.graph.encoders.base import GraphEncoder, Jump, NodeNorm, PositionKind
from sensorium.modalities.graph.encoders.pool import Pooling


class Layer(nn.Module):
    """A node hears from itself and its neighbors, each weighed by attention; ELU, added to what came in, batch norm.

    What edges carry takes part in the attention; a node's edge to itself carries the mean of those that lead to it.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.conv, self.norm = GATConv(width, width // heads, heads, edge_dim=width, fill_value="mean"), NodeNorm(width)

    def forward(self, x_NH: Tensor, edge_index: Tensor, edge_EH: Tensor | None, graph_N: Tensor) -> Tensor:
        """Return the nodes after one layer."""
        return self.norm(x_NH + F.elu(self.conv(x_NH, edge_index, edge_EH)))


class GAT(GraphEncoder):
    """Graph attention network (Velickovic et al. 2018, eq. 1 to 5) that hears what edges carry.

    Args:
        width: width of the nodes between layers; `heads` divide it.
        heads: attention heads.
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
        positions: PositionKind = "none",
        steps: int = 16,
    ) -> None:
        if width % heads:
            raise RecipeError(f"The encoder 'gat' has a width of {width}, which {heads} heads do not divide.")
        self.heads = heads
        super().__init__(modality, width, depth, pool, jump, dropout, positions, steps)

    def layer(self, width: int) -> nn.Module:
        """Return a layer."""
        return Layer(width, self.heads)
