"""Node dropping, edge perturbation and feature masking of a batch of graphs, each graph by draws of its own.

All is computed on the host, where numbers of nodes and edges are known: batches and generators are those of the CPU. No
graph loses its last node, nor a rooted graph its root. Letters as in `sensorium.modalities.graph.batch`; P
undirected edges (pairs of adjacent nodes, parallel edges counted once).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sensorium import RowStreams
from sensorium.modalities.graph.batch import GraphBatch, Schema
from sensorium.modalities.graph.layout import RowLayout


@dataclass
class Augmented:
    """Augmented graphs, and which nodes and edges of the original graphs are kept or masked.

    Args:
        batch: the augmented graphs.
        kept_N: bool, kept nodes.
        kept_E: bool, kept edges.
        masked_N: bool, nodes whose features are all masked.
    """

    batch: GraphBatch
    kept_N: Tensor
    kept_E: Tensor
    masked_N: Tensor

    def info(self, original: GraphBatch) -> dict[str, Tensor]:
        """Return padded masks: "kept_nodes" and "masked_nodes" bool (B, T), "kept_edges" bool (B, most edges)."""
        kept_BT, masked_BT = original.padded(torch.stack([self.kept_N, self.masked_N], dim=1))[0].unbind(2)
        kept_edges_BE = original.edge_layout.pad(self.kept_E)
        return {"kept_nodes": kept_BT, "kept_edges": kept_edges_BE, "masked_nodes": masked_BT}


def unchanged(batch: GraphBatch) -> Augmented:
    """Return the graphs as they are."""
    all_N = torch.ones(len(batch.x), dtype=torch.bool)
    all_E = torch.ones(batch.edge_index.shape[1], dtype=torch.bool)
    return Augmented(batch, all_N, all_E, ~all_N)


def sample_counts(ratio: float, layout: RowLayout, draws: RowStreams) -> Tensor:
    """Return `ratio` times the rows of each graph, rounded up or down at random, with that expectation: int64 (B,).

    A tenth of nine nodes is thus one node nine times in ten, where rounding down would never change a small graph.
    """
    sizes_B = layout.sizes_B
    return (ratio * sizes_B + draws.each()).floor().long().minimum(sizes_B)


def smallest(key_N: Tensor, layout: RowLayout, count_B: Tensor) -> Tensor:
    """Return the mask of the rows that have one of the `count_B` smallest keys of their graph, bool (N,).

    Args:
        key_N: float64, ordered by graph.
        layout: of the rows.
        count_B: number of rows to choose of each graph.
    """
    if 2 * int(count_B.sum()) > len(key_N):  # the complement is smaller
        return ~smallest(-key_N, layout, layout.sizes_B - count_B)
    most = int(count_B.max()) if len(count_B) else 0
    index_BM = layout.pad(key_N).masked_fill(~layout.mask_BT, torch.inf).topk(most, dim=1, largest=False).indices
    chosen_BM = torch.arange(most) < count_B[:, None]
    return layout.unpad(torch.zeros_like(layout.mask_BT).scatter(1, index_BM, chosen_BM))


def induced_subgraph(batch: GraphBatch, keep_N: Tensor) -> Augmented:
    """Return the kept nodes and the edges between them."""
    return Augmented(batch.subgraph(keep_N), keep_N, keep_N[batch.edge_index].all(0), torch.zeros_like(keep_N))


def drop_nodes(batch: GraphBatch, ratio: float, draws: RowStreams, rooted: bool) -> Augmented:
    """Drop a fraction of the nodes of each graph, with their edges."""
    key_N = 0.5 + draws.rand(batch.graph_index) / 2
    if rooted:
        key_N[batch.first_node] = 0.0
    kept_B = (batch.layout.sizes_B - sample_counts(ratio, batch.layout, draws)).clamp(min=1)
    return induced_subgraph(batch, smallest(key_N, batch.layout, kept_B))


def perturb_edges(
    batch: GraphBatch, schema: Schema, drop_ratio: float, add_ratio: float, draws: RowStreams
) -> Augmented:
    """Drop a fraction of the undirected edges of each graph, and add another fraction at random.

    Both directions of an edge are dropped together. New edges have both directions and masked features.
    """
    n = len(batch.x)
    low_E, high_E = batch.edge_index.amin(0), batch.edge_index.amax(0)
    pairs_P, pair_E = (low_E * n + high_E).unique(return_inverse=True)
    graph_P = batch.graph_index[pairs_P // max(n, 1)]
    layout = RowLayout.of_sizes(graph_P.bincount(minlength=len(batch)).numpy(), "cpu")
    dropped_P = smallest(draws.rand(graph_P), layout, sample_counts(drop_ratio, layout, draws))
    keep_E = ~dropped_P[pair_E]
    new_2A = _sample_non_edges(batch, sample_counts(add_ratio, layout, draws), pairs_P, draws)
    new_2E = torch.cat([new_2A, new_2A.flip(0)], dim=1)
    mask_F = torch.tensor(schema.edge_categories, dtype=torch.int64)
    edge_index = torch.cat([batch.edge_index[:, keep_E], new_2E], dim=1)
    graph_E = batch.graph_index[edge_index[0]]
    order_E = graph_E.argsort(stable=True)
    attr_EF = torch.cat([batch.edge_attr[keep_E], mask_F.expand(new_2E.shape[1], -1)])
    values_EV = torch.cat([batch.edge_values[keep_E], batch.edge_values.new_zeros(new_2E.shape[1], schema.edge_values)])
    perturbed = replace(
        batch,
        edge_index=edge_index[:, order_E],
        edge_attr=attr_EF[order_E],
        edge_values=values_EV[order_E],
        edge_sizes=graph_E.bincount(minlength=len(batch)).numpy(),
    )
    return replace(unchanged(batch), batch=perturbed, kept_E=keep_E)


def _sample_non_edges(batch: GraphBatch, count_B: Tensor, pairs_P: Tensor, draws: RowStreams) -> Tensor:
    """Draw pairs of nodes of one graph, int64 (2, A); those that are adjacent already are left out."""
    sizes_B = batch.layout.sizes_B
    graph_A = torch.arange(len(batch)).repeat_interleave(count_B.where(sizes_B > 1, 0))
    sizes_A = sizes_B[graph_A]
    source_A = (draws.rand(graph_A) * sizes_A).long()
    target_A = (source_A + 1 + (draws.rand(graph_A) * (sizes_A - 1)).long()) % sizes_A
    edges_2A = torch.stack([source_A, target_A]).sort(dim=0).values + batch.first_node[graph_A]
    code_A = (edges_2A[0] * len(batch.x) + edges_2A[1]).unique()
    code_A = code_A[~torch.isin(code_A, pairs_P)]
    return torch.stack([code_A // len(batch.x), code_A % len(batch.x)])


def mask_features(
    batch: GraphBatch, schema: Schema, mask_ratio: float, feature_p: float, draws: RowStreams
) -> Augmented:
    """Mask all features of a fraction of the nodes, and each feature of a whole graph with probability `feature_p`."""
    masked_N = smallest(draws.rand(batch.graph_index), batch.layout, sample_counts(mask_ratio, batch.layout, draws))
    width = len(schema.node_categories) + schema.node_values
    graph_BC = torch.arange(len(batch)).repeat_interleave(width)
    draw_BC = draws.rand(graph_BC).view(len(batch), width)  # always drawn, so that later draws stay the same
    masked_NC = masked_N[:, None].expand(-1, width)
    if feature_p:
        masked_NC = masked_NC | (draw_BC < feature_p)[batch.graph_index]
    return replace(unchanged(batch), batch=with_masked_features(batch, schema, masked_NC), masked_N=masked_N)


def with_masked_features(batch: GraphBatch, schema: Schema, masked_NC: Tensor) -> GraphBatch:
    """Return the batch with these node features masked, bool (N, F + V), categorical before numeric.

    A masked categorical feature has the mask category, a masked numeric feature is 0.
    """
    masked_NF, masked_NV = masked_NC.split([len(schema.node_categories), schema.node_values], dim=1)
    mask_F = torch.tensor(schema.node_categories, dtype=torch.int64)
    return replace(batch, x=torch.where(masked_NF, mask_F, batch.x), values=batch.values.masked_fill(masked_NV, 0.0))
