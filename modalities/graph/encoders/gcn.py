"""Graph convolutional network."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch_geometric.nn import GCNConv

from sensorium.losses.precision import at_least_fp32
from sensorium.modalities.graph.encoders.base import GraphEncoder, NodeNorm
from sensorium.modalities.graph.encoders.message_passing import MessageGraph, sum_at


class GraphConvolution(GCNConv):
    """PyTorch Geometric's graph convolution, computed without asking the device how many self-loops the graph has."""

    def forward(self, x_NH: Tensor, graph: MessageGraph) -> Tensor:  # type: ignore[override]
        """Return (N, H), at least fp32."""
        source_L, target_L = graph.looped_index
        x_NH = at_least_fp32(self.lin(x_NH))
        message_LH = graph.normalized_weight[:, None] * x_NH.index_select(0, source_L)
        return sum_at(target_L, message_LH, len(x_NH)) + self.bias


class GCNLayer(nn.Module):
    """Graph convolution with symmetric normalization and self-loops, batch norm, PReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm, self.act = GraphConvolution(width, width), NodeNorm(width), nn.PReLU()

    def forward(self, x_NH: Tensor, graph: MessageGraph) -> Tensor:
        """Return the node features after one layer."""
        return self.act(self.norm(self.conv(x_NH, graph)))


class GCN(GraphEncoder):
    """Graph convolutional network (GCN, Kipf and Welling 2017, eq. 2), the encoder of DGI and BGRL.

    It ignores edge features.
    """

    def __init__(self, modality: Any, width: int = 128, depth: int = 2, **options: Any) -> None:
        super().__init__(modality, width, depth, **options)

    def layer(self, width: int) -> nn.Module:
        """Return a layer."""
        return GCNLayer(width)
