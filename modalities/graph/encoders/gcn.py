"""Graph convolutional networks."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch_geometric.nn import GCNConv

from sensorium.modalities.graph.encoders.base import GraphEncoder, Jump, NodeNorm, PositionKind
from sensorium.modalities.graph.encoders.pool import Pooling


class Layer(nn.Module):
    """A mean of a node and its neighbors, each weighed by the roots of both degrees, then batch norm and PReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm, self.act = GCNConv(width, width), NodeNorm(width), nn.PReLU()

    def forward(self, x_NH: Tensor, edge_index: Tensor, edge_EH: Tensor | None, graph_N: Tensor) -> Tensor:
        """Return the nodes after one layer."""
        return self.act(self.norm(self.conv(x_NH, edge_index)))


class GCN(GraphEncoder):
    """Graph convolutional network (Kipf and Welling 2017, eq. 2), as DGI and BGRL train it. Edges are bare to it."""

    def __init__(
        self,
        modality: Any,
        width: int = 128,
        depth: int = 2,
        pool: Pooling = "mean",
        jump: Jump = "last",
        dropout: float = 0.0,
        positions: PositionKind = "none",
        steps: int = 16,
    ) -> None:
        super().__init__(modality, width, depth, pool, jump, dropout, positions, steps)

    def layer(self, width: int) -> nn.Module:
        """Return a layer."""
        return Layer(width)
