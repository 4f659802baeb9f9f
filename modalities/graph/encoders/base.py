"""What all encoders of graphs share: nodes as tokens, layers that pass messages along edges, pooling.

Letters as in `sensorium.modalities.graph.batch`; K kept tokens, H width between layers.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import Features, TokenEncoder, Tokens
from sensorium.errors import RecipeError
from sensorium.modalities.graph.batch import GraphBatch
from sensorium.modalities.graph.encoders.embed import Embed
from sensorium.modalities.graph.encoders.pool import Pool, Pooling
from sensorium.modalities.graph.encoders.positions import Positions

Jump = Literal["last", "cat", "max"]
PositionKind = Literal["none", "walk", "laplacian"]


@dataclass
class GraphTokens(Tokens):
    """Nodes as tokens, with the edges between them.

    Args:
        edge_index: int64 (2, E), from which node to which, counted over the whole batch.
        edge_ED: float (E, H), what each edge carries, embedded.
        sizes: int64 (B,), how many nodes each graph has.
    """

    edge_index: Tensor | None = None
    edge_ED: Tensor | None = None
    sizes: Tensor | None = None

    def take(self, index_BK: Tensor) -> Self:
        """Return the nodes at `index_BK` alone, with the edges between them."""
        assert self.sizes is not None
        assert self.edge_index is not None
        kept = super().take(index_BK)
        valid_BK = kept.valid()
        first_B1 = (self.sizes.cumsum(0) - self.sizes)[:, None]
        # Edges count the valid kept nodes of the batch, in the order of `index_BK`; -1 for a node that is not kept.
        new_N = self.edge_index.new_full((int(self.sizes.sum()),), -1)
        new_N[(index_BK + first_B1)[valid_BK]] = torch.arange(int(valid_BK.sum()), device=index_BK.device)
        edge_index = new_N[self.edge_index]
        kept_E = (edge_index >= 0).all(0)
        edge_ED = None if self.edge_ED is None else self.edge_ED[kept_E]
        return replace(kept, edge_index=edge_index[:, kept_E], edge_ED=edge_ED, sizes=valid_BK.sum(1))


class NodeNorm(nn.BatchNorm1d):
    """Batch norm over nodes; a single node, which has no deviation, is normalized by running statistics."""

    def forward(self, x_ND: Tensor) -> Tensor:
        """Normalize (N, D)."""
        if self.training and len(x_ND) < 2:
            return F.batch_norm(x_ND, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x_ND)


class GraphEncoder(TokenEncoder):
    """Layers that each let a node hear from its neighbors. Subclasses say what a layer is (`layer`).

    A node is a token. Where only some are kept, these hear from each other alone. A token's target is its first class,
    or else its numbers.

    Args:
        modality: a modality with a `schema`, fitted.
        width: H, width of the nodes between layers.
        depth: number of layers.
        pool: what stands for the whole graph: the "sum", "mean" or "max" of its nodes, their mean by learned
            "attention", or its "first" node.
        jump: what stands for a node: its "last" layer, all layers side by side ("cat") or their "max".
        dropout: between layers, while training.
        positions: what tells nodes apart beside what they carry: "none", the chances that a "walk" of 1 to `steps`
            steps comes back, or the first `steps` eigenvectors of the "laplacian", of random sign while training.
        steps: how many of them.
    """

    def __init__(
        self,
        modality: Any,
        width: int,
        depth: int,
        pool: Pooling,
        jump: Jump,
        dropout: float,
        positions: PositionKind,
        steps: int,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise RecipeError(f"An encoder of graphs has at least one layer, not {depth}.")
        self.schema, self.width, self.jump, self.dropout = modality.schema, width, jump, dropout
        self.dim = width * depth if jump == "cat" else width
        self.target_dim = self.schema.nodes[0] if self.schema.nodes else self.schema.values
        self.embed = Embed(self.schema.nodes, self.schema.values, self.dim)
        self.embed_edges = Embed(self.schema.edges, self.schema.edge_values, width) if self.reads_edges else None
        self.positions = Positions(positions, steps, self.dim)
        self.enter = nn.Linear(self.dim, width) if self.dim != width else nn.Identity()
        self.layers = nn.ModuleList(self.layer(width) for _ in range(depth))
        self.pool = Pool(pool, self.dim)

    reads_edges: bool = False
    """Whether layers hear what edges carry."""

    @abstractmethod
    def layer(self, width: int) -> nn.Module:
        """Return a new layer: (x (N, H), edge_index (2, E), edges (E, H) or None, graph (N,)) -> (N, H)."""

    def tokenize(self, batch: GraphBatch) -> GraphTokens:
        """Embed nodes to (B, T, D), with the edges between them."""
        x_BTD, mask_BT = batch.padded(self.embed(batch.x, batch.values))
        edge_ED = None if self.embed_edges is None else self.embed_edges(batch.edge_attr, batch.edge_values)
        positions_BTD = self.positions(batch, x_BTD)
        return GraphTokens(x_BTD, positions_BTD, mask_BT, batch.edge_index, edge_ED, batch.sizes)

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode nodes, or those at `keep` (B, K) with the edges between them."""
        assert isinstance(tokens, GraphTokens), "tokens of graphs know their edges"
        tokens = tokens if keep is None else tokens.take(keep)
        x_BTD, mask_BT = tokens.x + tokens.positions, tokens.valid()
        graph_N = torch.arange(len(mask_BT), device=mask_BT.device).repeat_interleave(mask_BT.sum(1))
        nodes_ND = self.pass_messages(self.enter(x_BTD[mask_BT]), tokens, graph_N)
        tokens_BTD = nodes_ND.new_zeros(x_BTD.shape).masked_scatter(mask_BT[..., None], nodes_ND)
        return Features(self.pool(nodes_ND, graph_N, len(mask_BT)), tokens_BTD, mask_BT)

    def pass_messages(self, x_NH: Tensor, tokens: GraphTokens, graph_N: Tensor) -> Tensor:
        """Return the features (N, D) of real nodes after all layers."""
        layers = []
        for layer in self.layers:
            x_NH = F.dropout(layer(x_NH, tokens.edge_index, tokens.edge_ED, graph_N), self.dropout, self.training)
            layers.append(x_NH)
        if self.jump == "cat":
            return torch.cat(layers, dim=1)
        return layers[-1] if self.jump == "last" else torch.stack(layers).amax(0)

    def token_mixer(self) -> nn.Module:
        """Return a new module, tokens -> (B, T, D), in which tokens hear from their neighbors once."""
        return TokenMixer(self)

    def token_targets(self, batch: GraphBatch) -> Tensor:
        """Return the first class of each node, int64 (B, T), or else its numbers, float (B, T, V)."""
        return batch.padded(batch.x[:, 0] if self.schema.nodes else batch.values)[0]


class TokenMixer(nn.Module):
    """One more layer of an encoder's kind, for objectives that decode tokens from their neighbors'.

    Args:
        encoder: whose layer it is.
    """

    def __init__(self, encoder: GraphEncoder) -> None:
        super().__init__()
        self.enter = nn.Linear(encoder.dim, encoder.width)
        self.layer = encoder.layer(encoder.width)
        self.leave = nn.Linear(encoder.width, encoder.dim)

    def forward(self, tokens: GraphTokens) -> Tensor:
        """Return the tokens (B, T, D) after one layer; padding is zero."""
        mask_BT = tokens.valid()
        graph_N = torch.arange(len(mask_BT), device=mask_BT.device).repeat_interleave(mask_BT.sum(1))
        x_NH = self.layer(self.enter(tokens.x[mask_BT]), tokens.edge_index, tokens.edge_ED, graph_N)
        x_ND = self.leave(x_NH)
        return x_ND.new_zeros(tokens.x.shape).masked_scatter(mask_BT[..., None], x_ND)
