"""Graph isomorphism networks, with and without what edges carry."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch_geometric.nn import GINConv, GINEConv

from sensorium.modalities.graph.encoders.base import GraphEncoder, Jump, NodeNorm, PositionKind
from sensorium.modalities.graph.encoders.pool import Pooling


def perceptron(width: int, hidden: int) -> nn.Sequential:
    """Return two linear maps with batch norm and ReLU between them."""
    return nn.Sequential(nn.Linear(width, hidden), NodeNorm(hidden), nn.ReLU(), nn.Linear(hidden, width))


class Layer(nn.Module):
    """A node and the sum of its neighbors through a perceptron, then ReLU and batch norm."""

    def __init__(self, width: int, edges: bool) -> None:
        super().__init__()
        self.edges = edges
        inner = perceptron(width, width)
        self.conv = GINEConv(inner, train_eps=True) if edges else GINConv(inner, train_eps=True)
        self.norm = NodeNorm(width)

    def forward(self, x_NH: Tensor, edge_index: Tensor, edge_EH: Tensor | None, graph_N: Tensor) -> Tensor:
        """Return the nodes after one layer."""
        heard_NH = self.conv(x_NH, edge_index, edge_EH) if self.edges else self.conv(x_NH, edge_index)
        return self.norm(heard_NH.relu())


class GIN(GraphEncoder):
    """Graph isomorphism network (Xu et al. 2019, eq. 4.1), as in InfoGraph and GraphCL: all layers side by side.

    It does not hear what edges carry; `gine` does.
    """

    def __init__(
        self,
        modality: Any,
        width: int = 32,
        depth: int = 3,
        pool: Pooling = "sum",
        jump: Jump = "cat",
        dropout: float = 0.0,
        positions: PositionKind = "none",
        steps: int = 16,
    ) -> None:
        super().__init__(modality, width, depth, pool, jump, dropout, positions, steps)

    def layer(self, width: int) -> nn.Module:
        """Return a layer."""
        return Layer(width, self.reads_edges)


class GINE(GIN):
    """The same network, hearing what edges carry (Hu et al. 2020, section 5.1)."""

    reads_edges = True
