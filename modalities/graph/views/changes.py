"""What is done to the graphs of a batch, each by draws of its own, and what is kept of them.

No graph loses its last node, nor, where the modality is rooted, its first. Letters as in
`sensorium.modalities.graph.batch`; P pairs of neighbors, however many edges lead from one to the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sensorium.errors import RecipeError
from sensorium.modalities.graph.batch import GraphBatch, Schema, padded


@dataclass
class Change:
    """Changed graphs and, of those they were made from, what is left.

    Args:
        batch: the changed graphs.
        nodes_N: bool, which nodes are kept.
        edges_E: bool, which edges are kept.
        hidden_N: bool, of which nodes everything that they carry is hidden.
    """

    batch: GraphBatch
    nodes_N: Tensor
    edges_E: Tensor
    hidden_N: Tensor

    def info(self, before: GraphBatch) -> dict[str, Tensor]:
        """Return the masks by graph: "nodes" and "masked_attributes" bool (B, T), "edges" bool (B, most edges)."""
        nodes_BT, hidden_BT = before.padded(torch.stack([self.nodes_N, self.hidden_N], dim=1))[0].unbind(2)
        edges_BE, _ = padded(self.edges_E, before.edge_sizes)
        return {"nodes": nodes_BT, "edges": edges_BE, "masked_attributes": hidden_BT}


def unchanged(batch: GraphBatch) -> Change:
    """Return the graphs as they are."""
    every_N = torch.ones(len(batch.x), dtype=torch.bool, device=batch.device)
    every_E = torch.ones(batch.edge_index.shape[1], dtype=torch.bool, device=batch.device)
    return Change(batch, every_N, every_E, ~every_N)


def shares(of: str, **given: float) -> None:
    """Raise `RecipeError` unless every given number lies from 0 to 1."""
    for name, share in given.items():
        if not 0 <= share <= 1:
            raise RecipeError(f"The {name} of the views '{of}' is a share from 0 to 1, not {share}.")


def rand(count: int, rng: torch.Generator) -> Tensor:
    """Return `count` float64 numbers from 0 to 1, drawn from `rng` on its device."""
    return torch.rand(count, generator=rng, device=rng.device, dtype=torch.float64)


def counts(share: float, sizes_B: Tensor, rng: torch.Generator) -> Tensor:
    """Return how many are a share of each size, int64 (B,): rounded up or down at random, right in the mean.

    A tenth of nine nodes is thus one nine times of ten, where rounding down would never change a small graph.
    """
    return (share * sizes_B + rand(len(sizes_B), rng)).floor().long().minimum(sizes_B)


def lowest(key_N: Tensor, sizes_B: Tensor, count_B: Tensor) -> Tensor:
    """Return which rows have one of the `count_B` smallest keys of their group, bool (N,).

    Args:
        key_N: float64, group by group.
        sizes_B: how many rows each group has.
        count_B: how many of them to choose.
    """
    if 2 * int(count_B.sum()) > len(key_N):  # fewer are left than chosen
        return ~lowest(-key_N, sizes_B, sizes_B - count_B)
    key_BT, mask_BT = padded(key_N, sizes_B)
    most = int(count_B.max()) if len(count_B) else 0
    found_BM = key_BT.masked_fill(~mask_BT, torch.inf).topk(most, dim=1, largest=False).indices
    chosen_BM = torch.arange(most, device=key_N.device) < count_B[:, None]
    return torch.zeros_like(mask_BT).scatter(1, found_BM, chosen_BM)[mask_BT]


def induced(batch: GraphBatch, keep_N: Tensor) -> Change:
    """Return the kept nodes and the edges between them."""
    return Change(batch.subgraph(keep_N), keep_N, keep_N[batch.edge_index].all(0), torch.zeros_like(keep_N))


def drop_nodes(batch: GraphBatch, share: float, rng: torch.Generator, rooted: bool) -> Change:
    """Leave out a share of the nodes of each graph."""
    key_N = 0.5 + rand(len(batch.x), rng) / 2
    if rooted:
        key_N[batch.firsts] = 0.0
    left_B = (batch.sizes - counts(share, batch.sizes, rng)).clamp(min=1)
    return induced(batch, lowest(key_N, batch.sizes, left_B))


def change_edges(batch: GraphBatch, schema: Schema, drop: float, add: float, rng: torch.Generator) -> Change:
    """Leave out a share of the pairs of neighbors of each graph, and join as many others as another share.

    What leads from one node to another leaves with what leads back. New edges lead both ways; what they carry is
    hidden.
    """
    n = len(batch.x)
    low_E, high_E = batch.edge_index.amin(0), batch.edge_index.amax(0)
    pairs_P, pair_E = (low_E * n + high_E).unique(return_inverse=True)
    graph_P = batch.graph[pairs_P // max(n, 1)]
    sizes_B = graph_P.bincount(minlength=len(batch))
    gone_P = lowest(rand(len(pairs_P), rng), sizes_B, counts(drop, sizes_B, rng))
    keep_E = ~gone_P[pair_E]
    ends_2A = _strangers(batch, counts(add, sizes_B, rng), pairs_P, rng)
    made_2E = torch.cat([ends_2A, ends_2A.flip(0)], dim=1)
    classes_F = torch.tensor(schema.edges, dtype=torch.int64, device=batch.device)
    edge_index = torch.cat([batch.edge_index[:, keep_E], made_2E], dim=1)
    graph_E = batch.graph[edge_index[0]]
    order_E = graph_E.argsort(stable=True)
    attr_EF = torch.cat([batch.edge_attr[keep_E], classes_F.expand(made_2E.shape[1], -1)])
    values_EV = torch.cat(
        [batch.edge_values[keep_E], batch.edge_values.new_zeros(made_2E.shape[1], schema.edge_values)]
    )
    changed = replace(
        batch,
        edge_index=edge_index[:, order_E],
        edge_attr=attr_EF[order_E],
        edge_values=values_EV[order_E],
        edge_sizes=graph_E.bincount(minlength=len(batch)),
    )
    return replace(unchanged(batch), batch=changed, edges_E=keep_E)


def _strangers(batch: GraphBatch, count_B: Tensor, pairs_P: Tensor, rng: torch.Generator) -> Tensor:
    """Draw pairs of two nodes of one graph, int64 (2, A); those that are neighbors already are left out."""
    graph_A = torch.arange(len(batch), device=batch.device).repeat_interleave(count_B.where(batch.sizes > 1, 0))
    sizes_A = batch.sizes[graph_A]
    one_A = (rand(len(graph_A), rng) * sizes_A).long()
    other_A = (one_A + 1 + (rand(len(graph_A), rng) * (sizes_A - 1)).long()) % sizes_A
    ends_2A = torch.stack([one_A, other_A]).sort(dim=0).values + batch.firsts[graph_A]
    code_A = (ends_2A[0] * len(batch.x) + ends_2A[1]).unique()
    code_A = code_A[~torch.isin(code_A, pairs_P)]
    return torch.stack([code_A // len(batch.x), code_A % len(batch.x)])


def hide(batch: GraphBatch, schema: Schema, nodes: float, columns: float, rng: torch.Generator) -> Change:
    """Hide what a share of the nodes of each graph carry, and a share of all columns of each graph."""
    hidden_N = lowest(rand(len(batch.x), rng), batch.sizes, counts(nodes, batch.sizes, rng))
    width = len(schema.nodes) + schema.values
    luck_BC = rand(len(batch) * width, rng).view(len(batch), width)  # drawn always: shares change no later draw
    away_NC = hidden_N[:, None].expand(-1, width)
    if columns:
        away_NC = away_NC | (luck_BC < columns)[batch.graph]
    return replace(unchanged(batch), batch=hidden(batch, schema, away_NC), hidden_N=hidden_N)


def hidden(batch: GraphBatch, schema: Schema, away_NC: Tensor) -> GraphBatch:
    """Return the batch without what nodes carry in these columns, bool (N, F + V), classes before numbers."""
    away_NF, away_NV = away_NC.split([len(schema.nodes), schema.values], dim=1)
    nothing_F = torch.tensor(schema.nodes, dtype=torch.int64, device=batch.device)
    return replace(batch, x=torch.where(away_NF, nothing_F, batch.x), values=batch.values.masked_fill(away_NV, 0.0))
