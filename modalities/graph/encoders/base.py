"""What all graph encoders share: nodes as tokens, message-passing layers, pooling.

The number of nodes of every graph is known on the host, so that encoding waits for no device.

Letters as in `sensorium.modalities.graph.batch`; K kept tokens, H width of the hidden node features.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import Features, LayerStack, TokenEncoder, Tokens, batch_norm, check_range, to_device
from sensorium.losses.precision import at_least_fp32
from sensorium.modalities.graph.batch import GraphBatch
from sensorium.modalities.graph.encoders.embed import FeatureEmbedding
from sensorium.modalities.graph.encoders.message_passing import MessageGraph
from sensorium.modalities.graph.encoders.pool import Pool, Pooling
from sensorium.modalities.graph.encoders.positional_encoding import PositionalEncoding, PositionalEncodingKind
from sensorium.modalities.graph.layout import RowLayout

JumpingKnowledge = Literal["last", "cat", "max"]


@dataclass
class GraphTokens(Tokens):
    """Nodes as tokens, with the edges between them.

    Args:
        edge_index: int64 (2, E), source and target node of each edge, numbered over the whole batch.
        edge_EH: float (E, H), embedded edge features, or None.
        layout: where the nodes lie, in one list and as tokens.
    """

    edge_index: Tensor | None = None
    edge_EH: Tensor | None = None
    layout: RowLayout | None = None

    @property
    def graph(self) -> MessageGraph:
        """The graph that layers pass messages along."""
        assert self.layout is not None
        assert self.edge_index is not None
        return MessageGraph(self.edge_index, None if self.edge_EH is None else at_least_fp32(self.edge_EH), self.layout)

    def take(self, index_BK: Tensor) -> Self:
        """Return the nodes at `index_BK` and the edges between them.

        How many there are, only the device knows: the host waits for it once.
        """
        assert self.layout is not None
        assert self.edge_index is not None
        nodes = replace(self, edge_index=None, edge_EH=None)  # edges are no tokens, and are taken below
        kept, device = super(GraphTokens, nodes).take(index_BK), index_BK.device
        valid_BK, (b, t) = kept.valid(), self.layout.mask_BT.shape
        # The new index of each node among the valid kept ones, in the order of `index_BK`; -1 for a dropped node.
        place_BK = index_BK + t * torch.arange(b, device=device)[:, None]
        rank_BK = (valid_BK.flatten().cumsum(0) - 1).view_as(index_BK).where(valid_BK, -1)
        new_P = index_BK.new_full((b * t,), -1).index_copy(0, place_BK.flatten(), rank_BK.flatten())
        edge_index = self.layout.unpad(new_P.view(b, t))[self.edge_index]
        known = torch.cat([valid_BK.flatten(), (edge_index >= 0).all(0)]).cpu().numpy()
        valid, kept_edges = np.split(known, [valid_BK.numel()])
        (kept_E,) = to_device([np.flatnonzero(kept_edges)], device)
        return replace(
            kept,
            edge_index=edge_index[:, kept_E],
            edge_EH=None if self.edge_EH is None else self.edge_EH[kept_E],
            layout=RowLayout.of_mask(valid.reshape(valid_BK.shape), device),
        )

    def repeat(self, copies: int) -> Self:
        """Return `copies` copies of every graph, copy after copy, each with edges of its own."""
        if copies == 1:
            return self
        assert self.layout is not None
        assert self.edge_index is not None
        edges, nodes = self.edge_index, len(self.layout.graph_N)
        repeated = super(GraphTokens, replace(self, edge_index=None, edge_EH=None)).repeat(copies)
        return replace(
            repeated,
            edge_index=torch.cat([edges + copy * nodes for copy in range(copies)], dim=1),
            edge_EH=None if self.edge_EH is None else torch.cat([self.edge_EH] * copies),
            layout=self.layout.repeat(copies),
        )


class NodeNorm(nn.BatchNorm1d):
    """Batch norm over nodes; a single node, which has no variance, is normalized by the running statistics."""

    def forward(self, x_ND: Tensor) -> Tensor:
        """Normalize (N, D)."""
        if self.training and len(x_ND) < 2 and not batch_norm.is_synchronized(self):
            return F.batch_norm(x_ND, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x_ND)


class GraphEncoder(TokenEncoder):
    """Message-passing network: a stack of layers, jumping knowledge, graph pooling. Subclasses give the `layer`.

    A node is a token. Where only some nodes are kept, messages pass along the edges between them alone. A token's
    target is its first categorical feature, or else its numeric features.

    Args:
        modality: a fitted modality with a `schema`.
        width: hidden width of the node features.
        depth: number of message-passing layers, >= 1.
        pool: graph pooling (readout): "sum", "mean" or "max" over the nodes, "attention" (mean weighted by a learned
            gate), or the "first" node, which is the root of a k-hop neighborhood.
        jk: jumping knowledge (Xu et al. 2018): node features of the "last" layer, of all layers concatenated ("cat"),
            or their element-wise "max".
        dropout: dropout probability after each layer.
        positional_encoding: "none", "random-walk" (return probabilities after 1 to `pe_dim` steps, Dwivedi et al.
            2022), or "laplacian" (the first `pe_dim` eigenvectors, of random sign in training, Dwivedi et al. 2020).
        pe_dim: number of random-walk steps or of eigenvectors, >= 1.
    """

    def __init__(
        self,
        modality: Any,
        width: int = 64,
        depth: int = 3,
        pool: Pooling = "mean",
        jk: JumpingKnowledge = "last",
        dropout: float = 0.0,
        positional_encoding: PositionalEncodingKind = "none",
        pe_dim: int = 16,
    ) -> None:
        super().__init__()
        check_range("graph encoder", "[1, inf)", depth=depth)
        self.schema, self.width, self.jk, self.dropout = modality.schema, width, jk, dropout
        self.dim = width * depth if jk == "cat" else width
        self.target_dim = self.schema.node_categories[0] if self.schema.node_categories else self.schema.node_values
        self.embed = FeatureEmbedding(self.schema.node_categories, self.schema.node_values, self.dim)
        self.embed_edges = (
            FeatureEmbedding(self.schema.edge_categories, self.schema.edge_values, width) if self.reads_edges else None
        )
        self.positional_encoding = PositionalEncoding(positional_encoding, pe_dim, self.dim)
        self.input = nn.Linear(self.dim, width) if self.dim != width else nn.Identity()
        self.layers = nn.ModuleList(self.layer(width) for _ in range(depth))
        self.pool = Pool(pool, self.dim)

    reads_edges: bool = False
    """Whether messages depend on the edge features."""

    @abstractmethod
    def layer(self, width: int) -> nn.Module:
        """Return a new layer: node features (N, H) and the `MessageGraph` of the nodes -> (N, H)."""

    def tokenize(self, batch: GraphBatch) -> GraphTokens:
        """Embed the nodes to (B, T, D), and the edges between them."""
        x_BTD, mask_BT = batch.padded(self.embed(batch.x, batch.values))
        edge_EH = None if self.embed_edges is None else self.embed_edges(batch.edge_attr, batch.edge_values)
        positions_BTD = self.positional_encoding(batch, x_BTD)
        return GraphTokens(x_BTD, positions_BTD, mask_BT, batch.edge_index, edge_EH, batch.layout)

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode all nodes, or the subgraph induced by those at `keep` (B, K)."""
        assert isinstance(tokens, GraphTokens), "graph tokens have edges"
        tokens = tokens if keep is None else tokens.take(keep)
        graph = tokens.graph
        x_ND = graph.layout.unpad(tokens.x + tokens.positions)
        nodes_ND = self.pass_messages(self.input(x_ND), graph)
        return Features(self.pool(nodes_ND, graph.layout), graph.layout.pad(nodes_ND), graph.layout.mask_BT)

    def pass_messages(self, x_NH: Tensor, graph: MessageGraph) -> Tensor:
        """Return the features (N, D) of the valid nodes after all layers."""
        layers = []
        for layer in self.layers:
            x_NH = F.dropout(layer(x_NH, graph), self.dropout, self.training)
            layers.append(x_NH)
        return self.join_layers(layers)

    def join_layers(self, layers: list[Tensor]) -> Tensor:
        """Return the node features (N, D) of all layers, each (N, H), by jumping knowledge."""
        if self.jk == "cat":
            return torch.cat(layers, dim=1)
        return layers[-1] if self.jk == "last" else torch.stack(layers).amax(0)

    def layer_stack(self) -> LayerStack:
        """Return its message-passing layers, and the pooling behind them."""
        return LayerStack(self.layers, [self.pool], tokens_of=padded_nodes)

    def mixing_layer(self) -> nn.Module:
        """Return a new layer for a token mixer: as those of the encoder, from node features to node features."""
        return self.layer(self.width)

    def token_mixer(self) -> nn.Module:
        """Return a new module, tokens -> (B, T, D), of one message-passing layer."""
        return TokenMixer(self)

    def token_targets(self, batch: GraphBatch) -> Tensor:
        """Return the first category of each node, int64 (B, T), or else its numeric features, float (B, T, V)."""
        return batch.padded(batch.x[:, 0] if self.schema.node_categories else batch.values)[0]


class TokenMixer(nn.Module):
    """One message-passing layer of an encoder's kind, the decoder of GraphMAE (Hou et al. 2022).

    Args:
        encoder: whose layer it is.
    """

    def __init__(self, encoder: GraphEncoder) -> None:
        super().__init__()
        self.input = nn.Linear(encoder.dim, encoder.width)
        self.layer = encoder.mixing_layer()
        self.output = nn.Linear(encoder.width, encoder.dim)

    def forward(self, tokens: GraphTokens) -> Tensor:
        """Return the tokens (B, T, D) after one layer; padding is zero."""
        graph = tokens.graph
        x_NH = self.layer(self.input(graph.layout.unpad(tokens.x)), graph)
        return graph.layout.pad(self.output(x_NH))


def padded_nodes(x_NH: Tensor, features: Features) -> tuple[Tensor, Tensor]:
    """Return what a layer returns, one row for each valid node, as tokens (B, T, H), and which of these are valid."""
    mask_BT = features.valid()
    empty_BTH = x_NH.new_zeros(*mask_BT.shape, x_NH.shape[1])
    return empty_BTH.masked_scatter(mask_BT[..., None], x_NH), mask_BT
