"""Graph convolutional network."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch_geometric.nn import GCNConv

from sensorium.modalities.graph.encoders.base import GraphEncoder, NodeNorm
from sensorium.modalities.graph.encoders.message_passing import MessageGraph


class GCNLayer(nn.Module):
    """Graph convolution with symmetric normalization and self-loops, batch norm, PReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm, self.act = GCNConv(width, width, normalize=False), NodeNorm(width), nn.PReLU()

    def forward(self, x_NH: Tensor, graph: MessageGraph) -> Tensor:
        """Return the node features after one layer."""
        return self.act(self.norm(self.conv(x_NH, graph.looped_index, graph.normalized_weight)))


class GCN(GraphEncoder):
    """Graph convolutional network (GCN, Kipf and Welling 2017, eq. 2), the encoder of DGI and BGRL.

    It ignores edge features.
    """

    def __init__(self, modality: Any, width: int = 128, depth: int = 2, **options: Any) -> None:
        super().__init__(modality, width, depth, **options)

    def layer(self, width: int) -> nn.Module:
        """Return a layer."""
        return GCNLayer(width)
