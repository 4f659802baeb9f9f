"""The graph that layers pass messages along, and what several of them need of it.

Sums over neighbors are in fp32 under autocast too: in bf16, a sum of ones ends at 256. Self-loops that the graph has
are given weight zero where a layer adds its own, not removed: how many there are, only the device knows. Letters as in
`sensorium.modalities.graph.batch`; H width of the hidden node features, L edges and a self-loop of every node.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sensorium.losses.precision import at_least_fp32
from sensorium.modalities.graph.layout import RowLayout


@dataclass(frozen=True)
class MessageGraph:
    """The edges between the nodes of a batch; what is derived from them is computed once for all layers.

    Args:
        edge_index: int64 (2, E), source and target node of each edge, numbered over the whole batch.
        edge_EH: float (E, H), embedded edge features, at least fp32, or None.
        layout: where the nodes lie.
    """

    edge_index: Tensor
    edge_EH: Tensor | None
    layout: RowLayout

    @cached_property
    def looped_index(self) -> Tensor:
        """The edges, and behind them a self-loop of every node: int64 (2, L)."""
        nodes = self.layout.graph_N
        loops_N = torch.arange(len(nodes), device=nodes.device)
        return torch.cat([self.edge_index, loops_N.expand(2, -1)], dim=1)

    @cached_property
    def looped_weight(self) -> Tensor:
        """Weight of each of those edges: 0 for self-loops that the graph has itself, else 1, float32 (L,)."""
        source_E, target_E = self.edge_index
        return torch.cat([(source_E != target_E).float(), torch.ones(len(self.layout.graph_N), device=source_E.device)])

    @cached_property
    def normalized_weight(self) -> Tensor:
        """Entries of D^-1/2 (A + I) D^-1/2 at those edges, float32 (L,) (Kipf and Welling 2017, eq. 2)."""
        source_L, target_L = self.looped_index
        degree_N = sum_at(target_L, self.looped_weight, len(self.layout.graph_N))
        scale_N = degree_N.rsqrt()  # at least one: that of the self-loop
        return scale_N[source_L] * self.looped_weight * scale_N[target_L]

    @cached_property
    def looped_features(self) -> Tensor | None:
        """Features of those edges, at least fp32 (L, H); a self-loop has the mean of the edges into its node."""
        if self.edge_EH is None:
            return None
        nodes, target_E, weight_E1 = (
            len(self.layout.graph_N),
            self.edge_index[1],
            self.looped_weight[: len(self.edge_EH), None],
        )
        count_N1 = sum_at(target_E, weight_E1, nodes).clamp(min=1)
        return torch.cat([self.edge_EH, sum_at(target_E, weight_E1 * self.edge_EH, nodes) / count_N1])

    @cached_property
    def _pairs(self) -> tuple[Tensor, Tensor, Tensor]:
        """For each edge: a number of its pair of nodes, in order, that of the reverse pair, and if it has edges."""
        source_E, target_E = self.edge_index
        nodes = len(self.layout.graph_N)
        pair_E, reverse_E = source_E * nodes + target_E, target_E * nodes + source_E
        sorted_E = pair_E.sort().values
        place_E = torch.searchsorted(sorted_E, pair_E)  # of the first of parallel edges
        back_E = torch.searchsorted(sorted_E, reverse_E).clamp(max=max(len(pair_E) - 1, 0))
        return place_E, back_E, sorted_E[back_E] == reverse_E

    def returning(self, rows_EH: Tensor) -> Tensor:
        """Return, for each edge v -> w, the sum of the rows of the edges w -> v, in at least fp32 (E, H)."""
        place_E, back_E, exists_E = self._pairs
        return sum_at(place_E, rows_EH, len(rows_EH))[back_E] * exists_E[:, None]


def sum_at(index_E: Tensor, rows_E: Tensor, count: int) -> Tensor:
    """Return the sums (count, ...) of rows (E, ...) that have the same index, in at least fp32."""
    rows_E = at_least_fp32(rows_E)
    return rows_E.new_zeros(count, *rows_E.shape[1:]).index_add(0, index_E, rows_E)
