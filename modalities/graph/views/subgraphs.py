"""Connected pieces of graphs, and neighbors by diffusion.

Letters as in `sensorium.modalities.graph.batch`; W walkers, K nodes that are diffused from at once.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sensorium.modalities.graph.batch import GraphBatch, Schema
from sensorium.modalities.graph.views.changes import Change, counts, induced, lowest, rand, unchanged

NODES_A_WALKER = 16
"""A large piece is walked by several walkers from one node on, each of whom is to find so many nodes."""
BLOCK = 64
"""Of each graph so many nodes are diffused from at once."""


def both_ways(batch: GraphBatch) -> Tensor:
    """Return the edges and their way back, int64 (2, 2E)."""
    return torch.cat([batch.edge_index, batch.edge_index.flip(0)], dim=1)


def roots(batch: GraphBatch, rng: torch.Generator, rooted: bool) -> Tensor:
    """Return a node of each graph, int64 (B,): its first where graphs are rooted, else a random one."""
    if rooted:
        return batch.firsts
    return batch.firsts + (rand(len(batch), rng) * batch.sizes).long()


def walk(batch: GraphBatch, share: float, steps: int, rng: torch.Generator, rooted: bool) -> Change:
    """Keep the nodes that random walks from one node meet, until they are a share of the graph or `steps` are made.

    Walkers start at one node and go along edges either way, so that what they meet hangs together.
    """
    wanted_B = counts(share, batch.sizes, rng).clamp(min=1)
    edges_2E = both_ways(batch)
    edges_2E = edges_2E[:, edges_2E[0].argsort()]
    degree_N = edges_2E[0].bincount(minlength=len(batch.x))
    first_N = degree_N.cumsum(0) - degree_N
    graph_W = torch.arange(len(batch), device=batch.device).repeat_interleave(-(-wanted_B // NODES_A_WALKER))
    at_W = roots(batch, rng, rooted)[graph_W]
    met_N = torch.full((len(batch.x),), steps + 1, device=batch.device)
    met_N[at_W] = 0
    for step in range(1, steps + 1):
        found_B = torch.zeros_like(batch.sizes).index_add(0, batch.graph, (met_N <= steps).long())
        if (found_B >= wanted_B).all():
            break
        choice_W = (rand(len(at_W), rng) * degree_N[at_W]).long()
        next_W = (
            edges_2E[1][(first_N[at_W] + choice_W).clamp(max=max(edges_2E.shape[1] - 1, 0))]
            if edges_2E.numel()
            else at_W
        )
        at_W = torch.where(degree_N[at_W] > 0, next_W, at_W)
        met_N[at_W] = met_N[at_W].clamp(max=step)
    # Of those met in the last round some may be too many; whoever was met earlier led there, so the rest still hangs.
    key_N = (met_N + rand(len(met_N), rng)) / (steps + 2)
    return induced(batch, lowest(key_N, batch.sizes, wanted_B) & (met_N <= steps))


def distances(batch: GraphBatch, roots_B: Tensor, most: int) -> Tensor:
    """Return how many edges, taken either way, lie between a node and its graph's root: int64 (N,).

    What lies further away than `most`, or on another island, has `most` + 1.
    """
    away_N = torch.full((len(batch.x),), most + 1, device=batch.device)
    away_N[roots_B] = 0
    source_E, sink_E = both_ways(batch)
    for step in range(1, most + 1):
        near_E = away_N[source_E] == step - 1
        away_N[sink_E[near_E]] = away_N[sink_E[near_E]].clamp(max=step)
    return away_N


def hops(batch: GraphBatch, count: int, rng: torch.Generator, rooted: bool) -> Change:
    """Keep the nodes that lie at most `count` edges, taken either way, from one node."""
    return induced(batch, distances(batch, roots(batch, rng, rooted), count) <= count)


def surroundings(
    batch: GraphBatch, near: int, ring: tuple[int, int], rng: torch.Generator, rooted: bool
) -> list[tuple[Change, Tensor]]:
    """Return what lies near one node and what lies around that, each with the nodes that stand for it.

    Near are nodes at most `near` edges away, for whom the one node stands; around are those from `ring[0]` to
    `ring[1]` edges away, for whom those stand that are near too. In a graph that does not reach so far the ring starts
    at its most distant nodes.
    """
    roots_B = roots(batch, rng, rooted)
    away_N = distances(batch, roots_B, ring[1])
    there_N = away_N <= ring[1]
    furthest_B = torch.zeros_like(batch.sizes).scatter_reduce(0, batch.graph, away_N.where(there_N, 0), "amax")
    from_N = furthest_B.clamp(max=ring[0])[batch.graph]
    root_N = torch.zeros_like(there_N)
    root_N[roots_B] = True
    inner_N, outer_N = away_N <= near, there_N & (away_N >= from_N)
    return [(induced(batch, inner_N), root_N[inner_N]), (induced(batch, outer_N), (away_N <= near)[outer_N])]


def diffuse(batch: GraphBatch, schema: Schema, restart: float, neighbors: int, steps: int) -> Change:
    """Give each node, in place of its edges, edges to the nodes that its personalised PageRank ranks highest.

    The mass is S = restart x sum over k of (1 - restart)^k T^k with T = D^-1/2 (A + I) D^-1/2 (Klicpera et al. 2019,
    eq. 3), summed to `steps`; edges count both ways. New edges carry nothing: their classes are hidden.
    """
    found = [
        _diffused(batch, start, restart, neighbors, steps)
        for start in range(0, int(batch.sizes.max()) if len(batch) else 0, BLOCK)
    ]
    edges_2E = torch.cat(found, dim=1) if found else batch.edge_index[:, :0]
    edges_2E = edges_2E[:, batch.graph[edges_2E[0]].argsort(stable=True)]
    classes_F = torch.tensor(schema.edges, dtype=torch.int64, device=batch.device)
    changed = replace(
        batch,
        edge_index=edges_2E,
        edge_attr=classes_F.expand(edges_2E.shape[1], -1),
        edge_values=batch.edge_values.new_zeros(edges_2E.shape[1], schema.edge_values),
        edge_sizes=batch.graph[edges_2E[0]].bincount(minlength=len(batch)),
    )
    left = unchanged(batch)
    return replace(left, batch=changed, edges_E=torch.zeros_like(left.edges_E))


def _diffused(batch: GraphBatch, start: int, restart: float, neighbors: int, steps: int) -> Tensor:
    """Return the new edges into the nodes from place `start` on of every graph, `BLOCK` of them: int64 (2, M)."""
    there_N = (batch.places >= start) & (batch.places < start + BLOCK)
    sink_M = there_N.nonzero()[:, 0]
    column_M = batch.places[sink_M] - start
    loops_N = torch.arange(len(batch.x), device=batch.device)
    source_E, sink_E = torch.cat([both_ways(batch).unique(dim=1), torch.stack([loops_N, loops_N])], dim=1)
    root_N = source_E.bincount(minlength=len(batch.x)).float().rsqrt()
    share_E1 = (root_N[source_E] * root_N[sink_E])[:, None]
    mass_NK = torch.zeros(len(batch.x), BLOCK, device=batch.device)
    mass_NK[sink_M, column_M] = 1.0
    sum_NK = restart * mass_NK
    for _ in range(steps):
        mass_NK = (1 - restart) * torch.zeros_like(mass_NK).index_add(0, sink_E, share_E1 * mass_NK[source_E])
        sum_NK = sum_NK + restart * mass_NK
    sum_NK[sink_M, column_M] = 0.0  # no node is its own neighbor
    mass_BTK, _ = batch.padded(sum_NK)
    top = mass_BTK.topk(min(neighbors, mass_BTK.shape[1]), dim=1)
    graph_MK, place_MK = batch.graph[sink_M][:, None], top.indices[batch.graph[sink_M], :, column_M]
    source_MK = batch.firsts[graph_MK] + place_MK
    real_MK = top.values[batch.graph[sink_M], :, column_M] > 0
    return torch.stack([source_MK[real_MK], sink_M[:, None].expand_as(source_MK)[real_MK]])
