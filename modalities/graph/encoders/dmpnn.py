"""Directed message passing: states belong to directed edges, and no message returns to where it came from.

Letters as in `sensorium.modalities.graph.batch`; H width of the hidden states of edges and nodes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import LayerStack
from sensorium.losses.precision import at_least_fp32
from sensorium.modalities.graph.encoders.base import GraphEncoder, padded_nodes
from sensorium.modalities.graph.encoders.message_passing import MessageGraph, sum_at


class EdgeStart(nn.Module):
    """The first state of an edge: of its source node and its own features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.map = nn.Linear(2 * width, width)

    def forward(self, x_NH: Tensor, graph: MessageGraph) -> Tensor:
        """Return (E, H)."""
        assert graph.edge_EH is not None, "a directed message starts at an edge"
        source_EH = at_least_fp32(x_NH)[graph.edge_index[0]]
        return self.map(torch.cat([source_EH, graph.edge_EH], dim=1)).relu()


class DirectedLayer(nn.Module):
    """One step: an edge v -> w adds up the edges into v, but for those from w, and adds its first state."""

    def __init__(self, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.map, self.dropout = nn.Linear(width, width), dropout

    def forward(
        self, incoming_NH: Tensor, state_EH: Tensor, first_EH: Tensor, graph: MessageGraph
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of the new states of the edges into each node (N, H), and these states (E, H)."""
        source_E, target_E = graph.edge_index
        message_EH = incoming_NH[source_E] - graph.returning(state_EH)
        state_EH = F.dropout((first_EH + self.map(message_EH)).relu(), self.dropout, self.training)
        return sum_at(target_E, state_EH, len(incoming_NH)), state_EH


class NodeReadout(nn.Module):
    """A node's state: of its own features and the sum of the edges into it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.map = nn.Linear(2 * width, width)

    def forward(self, x_NH: Tensor, incoming_NH: Tensor) -> Tensor:
        """Return (N, H)."""
        return self.map(torch.cat([at_least_fp32(x_NH), incoming_NH], dim=1)).relu()


class DirectedPass(nn.Module):
    """One step of directed message passing from node features to node features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.start, self.layer, self.readout = EdgeStart(width), DirectedLayer(width), NodeReadout(width)

    def forward(self, x_NH: Tensor, graph: MessageGraph) -> Tensor:
        """Return the node features (N, H)."""
        first_EH = self.start(x_NH, graph)
        incoming_NH, _ = self.layer(sum_at(graph.edge_index[1], first_EH, len(x_NH)), first_EH, first_EH, graph)
        return self.readout(x_NH, incoming_NH)


class DMPNN(GraphEncoder):
    """Directed message passing network with edge features (D-MPNN, Yang et al. 2019, eq. 2 to 6), as of chemprop.

    It has no normalization, so that features of a graph are the same in any batch, in training too. Edges without
    features share one learned embedding.

    Args:
        depth: number of steps after the first states of edges, >= 1; chemprop's depth counts these too.
        dropout: dropout probability of the states of edges after each step.
    """

    reads_edges = True

    def __init__(self, modality: Any, dropout: float = 0.0, **options: Any) -> None:
        self.edge_dropout = dropout
        super().__init__(modality, **options)
        self.start, self.readout = EdgeStart(self.width), NodeReadout(self.width)

    def layer(self, width: int) -> nn.Module:
        """Return a layer of edge states."""
        return DirectedLayer(width, self.edge_dropout)

    def mixing_layer(self) -> nn.Module:
        """Return a layer of node features."""
        return DirectedPass(self.width)

    def pass_messages(self, x_NH: Tensor, graph: MessageGraph) -> Tensor:
        """Return the features (N, D) of the valid nodes after all layers."""
        first_EH = state_EH = self.start(x_NH, graph)
        incoming_NH = sum_at(graph.edge_index[1], first_EH, len(x_NH))
        layers = []
        for layer in self.layers:
            incoming_NH, state_EH = layer(incoming_NH, state_EH, first_EH, graph)
            layers.append(incoming_NH)
        read = layers[-1:] if self.jk == "last" else layers
        return self.join_layers([self.readout(x_NH, incoming_NH) for incoming_NH in read])

    def layer_stack(self) -> LayerStack:
        """Return its layers, and what reads nodes and pools behind them."""
        behind = [self.readout, self.pool]
        return LayerStack(self.layers, behind, tokens_of=lambda states, features: padded_nodes(states[0], features))
