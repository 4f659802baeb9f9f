"""Random-walk subgraphs, k-hop neighborhoods and personalized PageRank diffusion.

Letters as in `sensorium.modalities.graph.batch`; W random walks, K nodes whose PageRank is computed at once.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sensorium import RowStreams, to_device
from sensorium.modalities.graph.batch import GraphBatch, Schema
from sensorium.modalities.graph.layout import RowLayout
from sensorium.modalities.graph.views.augmentations import (
    Augmented,
    induced_subgraph,
    sample_counts,
    smallest,
    unchanged,
)

NODES_PER_WALK = 16
"""A large subgraph is found by several random walks from its start node, one for so many of its nodes."""
BLOCK = 64
"""Number of nodes per graph whose PageRank is computed at once."""


def undirected_edges(batch: GraphBatch) -> Tensor:
    """Return the edges in both directions, int64 (2, 2E)."""
    return torch.cat([batch.edge_index, batch.edge_index.flip(0)], dim=1)


def sample_roots(batch: GraphBatch, draws: RowStreams, rooted: bool) -> Tensor:
    """Return one node of each graph, int64 (B,): its first where graphs are rooted, else a random one."""
    if rooted:
        return batch.first_node
    return batch.first_node + (draws.each() * batch.layout.sizes_B).long()


def random_walk_subgraph(batch: GraphBatch, ratio: float, steps: int, draws: RowStreams, rooted: bool) -> Augmented:
    """Keep the nodes that random walks from one node visit, until they are a fraction of the graph or `steps` are done.

    All walks start at the same node and follow edges in both directions, so that the subgraph is connected.
    """
    count_B = sample_counts(ratio, batch.layout, draws).clamp(min=1)
    edges_2E = undirected_edges(batch)
    edges_2E = edges_2E[:, edges_2E[0].argsort(stable=True)]
    degree_N = edges_2E[0].bincount(minlength=len(batch.x))
    first_N = degree_N.cumsum(0) - degree_N
    graph_W = torch.arange(len(batch)).repeat_interleave(-(-count_B // NODES_PER_WALK))
    node_W = sample_roots(batch, draws, rooted)[graph_W]
    visited_N = torch.full((len(batch.x),), steps + 1)
    visited_N[node_W] = 0
    order_N = draws.rand(batch.graph_index)
    for step in range(1, steps + 1):
        found_B = torch.zeros_like(count_B).index_add(0, batch.graph_index, (visited_N <= steps).long())
        walks_W = (found_B < count_B)[graph_W]  # whether and how long a graph is walked depends on no other graph
        if not walks_W.any():
            break
        graph_W, node_W = graph_W[walks_W], node_W[walks_W]
        choice_W = (draws.rand(graph_W) * degree_N[node_W]).long()
        next_W = (
            edges_2E[1][(first_N[node_W] + choice_W).clamp(max=max(edges_2E.shape[1] - 1, 0))]
            if edges_2E.numel()
            else node_W
        )
        node_W = torch.where(degree_N[node_W] > 0, next_W, node_W)
        visited_N[node_W] = visited_N[node_W].clamp(max=step)
    # The last step may visit too many nodes; the path to each goes through earlier ones, so any choice is connected.
    key_N = (visited_N + order_N) / (steps + 2)
    return induced_subgraph(batch, smallest(key_N, batch.layout, count_B) & (visited_N <= steps))


def hop_distances(batch: GraphBatch, roots_B: Tensor, most: int) -> Tensor:
    """Return the undirected shortest-path distance of each node from its graph's root, int64 (N,).

    A node further away than `most`, or not reachable, has distance `most` + 1.
    """
    distance_N = torch.full((len(batch.x),), most + 1)
    distance_N[roots_B] = 0
    source_E, target_E = undirected_edges(batch)
    for step in range(1, most + 1):
        reached_N = target_E[distance_N[source_E] == step - 1]
        distance_N[reached_N] = distance_N[reached_N].clamp(max=step)
    return distance_N


def ego_net(batch: GraphBatch, hops: int, draws: RowStreams, rooted: bool) -> Augmented:
    """Keep the `hops`-hop neighborhood of one node of each graph."""
    return induced_subgraph(batch, hop_distances(batch, sample_roots(batch, draws, rooted), hops) <= hops)


def neighborhood_and_context(
    batch: GraphBatch, hops: int, r1: int, r2: int, draws: RowStreams, rooted: bool
) -> list[tuple[Augmented, Tensor]]:
    """Return the `hops`-hop neighborhood of one node and its context graph, each with the mask of its anchors.

    The context graph has the nodes from `r1` to `r2` hops away. The anchor of the neighborhood is the node itself,
    those of the context graph are the nodes that both share. In a graph that does not reach to `r1` the context starts
    at the most distant nodes.
    """
    roots_B = sample_roots(batch, draws, rooted)
    distance_N = hop_distances(batch, roots_B, r2)
    reached_N = distance_N <= r2
    furthest_B = torch.zeros_like(roots_B).scatter_reduce(0, batch.graph_index, distance_N.where(reached_N, 0), "amax")
    start_N = furthest_B.clamp(max=r1)[batch.graph_index]
    root_N = torch.zeros_like(reached_N)
    root_N[roots_B] = True
    inner_N, context_N = distance_N <= hops, reached_N & (distance_N >= start_N)
    return [
        (induced_subgraph(batch, inner_N), root_N[inner_N]),
        (induced_subgraph(batch, context_N), inner_N[context_N]),
    ]


def ppr_diffusion(
    batch: GraphBatch, schema: Schema, alpha: float, top_k: int, steps: int, device: torch.device | str = "cpu"
) -> Augmented:
    """Replace the edges of each graph by edges from the `top_k` nodes of highest personalized PageRank to each node.

    The diffusion matrix is S = alpha x sum over k of (1 - alpha)^k T^k with T = D^-1/2 (A + I) D^-1/2 (Klicpera et al.
    2019, eq. 3), summed to k = `steps` on `device`; A is undirected. The new edges have masked features.
    """
    count, graph_N, local_N = len(batch.x), batch.graph_index, batch.local_index
    edges_2E = torch.cat([undirected_edges(batch).unique(dim=1), torch.arange(count).expand(2, -1)], dim=1)
    scale_N = edges_2E[0].bincount(minlength=count).float().rsqrt()
    layout = RowLayout.of_sizes(batch.sizes, device)
    transition = to_device([edges_2E, scale_N[edges_2E].prod(0)[:, None]], device)
    blocks = [(local_N // BLOCK == block).nonzero()[:, 0] for block in range(-(-batch.sizes.max(initial=0) // BLOCK))]
    sources = []
    for target_M in blocks:
        graph_M = graph_N[target_M]
        where = to_device([target_M, local_N[target_M] % BLOCK, graph_M, batch.first_node[graph_M]], device)
        sources.append(_ppr_sources(layout, transition, where, alpha, top_k, steps))
    source_MK = torch.cat(sources).cpu() if sources else torch.zeros(0, 0, dtype=torch.int64)
    target_MK = torch.cat(blocks)[:, None].expand_as(source_MK) if blocks else source_MK
    edges_2E = torch.stack([source_MK, target_MK])[:, source_MK >= 0]
    edges_2E = edges_2E[:, graph_N[edges_2E[0]].argsort(stable=True)]
    mask_F = torch.tensor(schema.edge_categories, dtype=torch.int64)
    diffused = replace(
        batch,
        edge_index=edges_2E,
        edge_attr=mask_F.expand(edges_2E.shape[1], -1),
        edge_values=batch.edge_values.new_zeros(edges_2E.shape[1], schema.edge_values),
        edge_sizes=graph_N[edges_2E[0]].bincount(minlength=len(batch)).numpy(),
    )
    original = unchanged(batch)
    return replace(original, batch=diffused, kept_E=torch.zeros_like(original.kept_E))


def _ppr_sources(
    layout: RowLayout, transition: list[Tensor], where: list[Tensor], alpha: float, top_k: int, steps: int
) -> Tensor:
    """Return the nodes of highest PageRank to each of M nodes, at most `BLOCK` of a graph: int64 (M, K), -1 for none.

    Args:
        layout: of the N nodes.
        transition: edges int64 (2, E) and the entries (E, 1) of T, symmetric.
        where: of the M nodes, int64 (M,) each: node, column below `BLOCK`, graph and first node of the graph.
        alpha: teleport probability.
        top_k: number of nodes.
        steps: terms of the power series.
    """
    (source_E, target_E), transition_E1 = transition
    node_M, column_M, graph_M, first_M = where
    places = (node_M, column_M)
    p_NK = transition_E1.new_zeros(len(layout.graph_N), BLOCK)
    p_NK = p_NK.index_put(places, p_NK.new_ones(len(node_M)))
    ppr_NK = alpha * p_NK
    for _ in range(steps):
        p_NK = (1 - alpha) * torch.zeros_like(p_NK).index_add(0, target_E, transition_E1 * p_NK[source_E])
        ppr_NK = ppr_NK + alpha * p_NK
    ppr_BTK = layout.pad(ppr_NK.index_put(places, p_NK.new_zeros(len(node_M))))  # no self-loops
    top = ppr_BTK.topk(min(top_k, ppr_BTK.shape[1]), dim=1)
    source_MK = first_M[:, None] + top.indices[graph_M, :, column_M]
    return source_MK.where(top.values[graph_M, :, column_M] > 0, -1)
