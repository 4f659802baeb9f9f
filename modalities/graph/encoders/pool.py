"""Graph pooling: from node features to one vector per graph.

Letters as in `sensorium.modalities.graph.batch`.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch_geometric.utils import softmax

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

    def forward(self, x_ND: Tensor, graph_N: Tensor, count: int) -> Tensor:
        """Return (count, D).

        Args:
            x_ND: node features.
            graph_N: int64, graph of each node, ascending.
            count: B, number of graphs.
        """
        out_BD = x_ND.new_zeros(count, x_ND.shape[1])
        if self.how == "max":
            index_ND = graph_N[:, None].expand_as(x_ND)
            return out_BD.scatter_reduce(0, index_ND, x_ND, "amax", include_self=False)
        if self.how == "first":
            first_N = torch.ones_like(graph_N, dtype=torch.bool)
            first_N[1:] = graph_N[1:] != graph_N[:-1]
            return out_BD.index_copy(0, graph_N[first_N], x_ND[first_N])
        if self.gate is not None:
            x_ND = x_ND * softmax(self.gate(x_ND), graph_N, num_nodes=count)
        summed_BD = out_BD.index_add(0, graph_N, x_ND)
        if self.how == "mean":
            return summed_BD / graph_N.bincount(minlength=count).clamp(min=1)[:, None]
        return summed_BD
