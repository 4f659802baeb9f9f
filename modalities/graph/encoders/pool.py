"""Graph pooling: from node features to one vector per graph, in fp32 under autocast too.

Letters as in `sensorium.modalities.graph.batch`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from torch import Tensor, nn
from torch_geometric.utils import softmax

from sensorium import to_device
from sensorium.losses.precision import at_least_fp32
from sensorium.modalities.graph.encoders.message_passing import sum_at
from sensorium.modalities.graph.layout import RowLayout

Pooling = Literal["sum", "mean", "max", "attention", "first"]


class Pool(nn.Module):
    """Sum, mean or max over a graph's nodes, a mean weighted by a learned gate, or the first node.

    A graph without visible nodes is pooled to zero.

    Args:
        how: kind of pooling.
        dim: D, width of the node features.
    """

    def __init__(self, how: Pooling, dim: int) -> None:
        super().__init__()
        self.how = how
        self.gate = nn.Linear(dim, 1) if how == "attention" else None

    def forward(self, x_ND: Tensor, layout: RowLayout) -> Tensor:
        """Return (B, D), at least fp32.

        Args:
            x_ND: node features.
            layout: where the nodes lie.
        """
        count, graph_N = len(layout.sizes), layout.graph_N
        gate_N1 = None if self.gate is None else at_least_fp32(self.gate(x_ND))
        x_ND = at_least_fp32(x_ND)
        out_BD = x_ND.new_zeros(count, x_ND.shape[1])
        if self.how == "max":
            index_ND = graph_N[:, None].expand_as(x_ND)
            return out_BD.scatter_reduce(0, index_ND, x_ND, "amax", include_self=False)
        if self.how == "first":
            first_B, filled = layout.sizes.cumsum() - layout.sizes, np.flatnonzero(layout.sizes)
            filled_M, first_M = to_device([filled, first_B[filled]], x_ND.device)
            return out_BD.index_copy(0, filled_M, x_ND[first_M])
        if gate_N1 is not None:
            x_ND = x_ND * softmax(gate_N1, graph_N, num_nodes=count)
        summed_BD = sum_at(graph_N, x_ND, count)
        return summed_BD / layout.sizes_B.clamp(min=1)[:, None] if self.how == "mean" else summed_BD
