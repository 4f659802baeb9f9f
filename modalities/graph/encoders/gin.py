"""Graph isomorphism networks, without and with edge features."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch_geometric.nn import GINConv, GINEConv

from sensorium.losses.precision import at_least_fp32
from sensorium.modalities.graph.encoders.base import GraphEncoder, JumpingKnowledge, NodeNorm
from sensorium.modalities.graph.encoders.message_passing import MessageGraph
from sensorium.modalities.graph.encoders.pool import Pooling


def mlp(width: int, hidden: int) -> nn.Sequential:
    """Return two linear maps with batch norm and ReLU between them."""
    return nn.Sequential(nn.Linear(width, hidden), NodeNorm(hidden), nn.ReLU(), nn.Linear(hidden, width))


class GINLayer(nn.Module):
    """An MLP of the node plus the sum of its neighbors, then ReLU and batch norm."""

    def __init__(self, width: int, edges: bool) -> None:
        super().__init__()
        self.edges = edges
        inner = mlp(width, width)
        self.conv = GINEConv(inner, train_eps=True) if edges else GINConv(inner, train_eps=True)
        self.norm = NodeNorm(width)

    def forward(self, x_NH: Tensor, graph: MessageGraph) -> Tensor:
        """Return the node features after one layer."""
        x_NH, edge_index = at_least_fp32(x_NH), graph.edge_index  # the dtype of the sum over neighbors
        out_NH = self.conv(x_NH, edge_index, graph.edge_EH) if self.edges else self.conv(x_NH, edge_index)
        return self.norm(out_NH.relu())


class GIN(GraphEncoder):
    """Graph isomorphism network (GIN, Xu et al. 2019, eq. 4.1), the encoder of InfoGraph and GraphCL.

    It ignores edge features; `gine` reads them.
    """

    def __init__(
        self, modality: Any, width: int = 32, pool: Pooling = "sum", jk: JumpingKnowledge = "cat", **options: Any
    ) -> None:
        super().__init__(modality, width, pool=pool, jk=jk, **options)

    def layer(self, width: int) -> nn.Module:
        """Return a layer."""
        return GINLayer(width, self.reads_edges)


class GINE(GIN):
    """Graph isomorphism network with edge features (GINE, Hu et al. 2020, section 5.1)."""

    reads_edges = True
