"""The registered view generators of graphs."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any

import torch

from sensorium import View, ViewGenerator
from sensorium.errors import RecipeError
from sensorium.modalities.graph.batch import GraphBatch, Schema
from sensorium.modalities.graph.views.changes import (
    Change,
    change_edges,
    drop_nodes,
    hidden,
    hide,
    lowest,
    rand,
    shares,
    unchanged,
)
from sensorium.modalities.graph.views.changes import counts as counted
from sensorium.modalities.graph.views.subgraphs import diffuse, hops, surroundings, walk

STEPS = 512
"""The most steps of a random walk; who lives on an island has met it all long before."""


class Plain(ViewGenerator):
    """One view: the graph itself, for objectives that hide tokens themselves."""

    def __init__(self, modality: Any) -> None:
        pass

    def __call__(self, batch: GraphBatch, rng: torch.Generator) -> list[View]:
        """Return the graphs themselves."""
        return [View(batch)]


class Changed(ViewGenerator):
    """Two views, each changed by draws of its own.

    Their `info` has bool masks: kept "nodes" and "masked_attributes" (B, T), kept "edges" (B, most edges).
    """

    views = 2

    def __init__(self, modality: Any) -> None:
        self.modality = modality

    @property
    def schema(self) -> Schema:
        """What the graphs carry; known once the modality is fitted."""
        return self.modality.schema

    @abstractmethod
    def change(self, batch: GraphBatch, rng: torch.Generator) -> Change:
        """Return one changed batch and what is left."""

    def __call__(self, batch: GraphBatch, rng: torch.Generator) -> list[View]:
        """Return the views."""
        changes = [self.change(batch, rng) for _ in range(self.views)]
        return [View(change.batch, info=change.info(batch)) for change in changes]


class NodeDrop(Changed):
    """Two views, each without some nodes and their edges (GraphCL, You et al. 2020, table 1).

    Args:
        share: of each graph's nodes that leave; one node always stays.
    """

    def __init__(self, modality: Any, share: float = 0.1) -> None:
        super().__init__(modality)
        shares("node-drop", share=share)
        self.share = share

    def change(self, batch, rng):
        """Leave out nodes."""
        return drop_nodes(batch, self.share, rng, self.schema.rooted)


class Edges(Changed):
    """Two views, each without some edges and with some new ones (GraphCL's edge perturbation, table 1).

    What leads from one node to another leaves together with what leads back; new edges lead both ways, and what they
    carry is hidden.

    Args:
        drop: share of each graph's pairs of neighbors that are parted.
        add: as many strangers become neighbors, as a share of the pairs of neighbors; some draws find neighbors.
    """

    def __init__(self, modality: Any, drop: float = 0.1, add: float = 0.1) -> None:
        super().__init__(modality)
        shares("edges", drop=drop, add=add)
        self.drop, self.add = drop, add

    def change(self, batch, rng):
        """Change edges."""
        return change_edges(batch, self.schema, self.drop, self.add, rng)


class FeatureMask(Changed):
    """Two views, each without what some nodes carry, and without some columns (GraphCL, table 1; GRACE, 3.2.2).

    Hidden classes are a class of their own, hidden numbers are zero.

    Args:
        nodes: share of each graph's nodes that lose all they carry.
        columns: chance of a column to be hidden in all nodes of a graph.
    """

    def __init__(self, modality: Any, nodes: float = 0.1, columns: float = 0.0) -> None:
        super().__init__(modality)
        shares("feature-mask", nodes=nodes, columns=columns)
        self.nodes, self.columns = nodes, columns

    def change(self, batch, rng):
        """Hide what nodes carry."""
        return hide(batch, self.schema, self.nodes, self.columns, rng)


class EdgesAndFeatures(Changed):
    """Two views, each without some edges and some columns, all nodes kept: GRACE's and BGRL's, for single nodes.

    Zhu et al. 2020, section 3.2; Thakoor et al. 2022, section 3.1.

    Args:
        edges: share of each graph's pairs of neighbors that are parted.
        columns: chance of a column to be hidden in all nodes of a graph.
        nodes: share of each graph's nodes that lose all they carry.
    """

    def __init__(self, modality: Any, edges: float = 0.5, columns: float = 0.1, nodes: float = 0.0) -> None:
        super().__init__(modality)
        shares("edges-and-features", edges=edges, columns=columns, nodes=nodes)
        self.edges, self.columns, self.nodes = edges, columns, nodes

    def change(self, batch, rng):
        """Leave out edges, then hide what nodes carry."""
        parted = change_edges(batch, self.schema, self.edges, 0.0, rng)
        masked = hide(parted.batch, self.schema, self.nodes, self.columns, rng)
        return replace(parted, batch=masked.batch, hidden_N=masked.hidden_N)


class Walk(Changed):
    """Two views, each the nodes that random walks from one node meet, with the edges between them (GraphCL, table 1).

    Args:
        share: of each graph's nodes that are kept, where so many can be reached.
    """

    def __init__(self, modality: Any, share: float = 0.8) -> None:
        super().__init__(modality)
        shares("walk", share=share)
        self.share = share

    def change(self, batch, rng):
        """Walk."""
        return walk(batch, self.share, STEPS, rng, self.schema.rooted)


class Hops(Changed):
    """Two views, each what lies around one node, which is another one in either view.

    Args:
        hops: how many edges away a node may lie.
    """

    def __init__(self, modality: Any, hops: int = 3) -> None:
        super().__init__(modality)
        if hops < 0:
            raise RecipeError(f"The views 'hops' reach 0 or more edges, not {hops}.")
        self.hops = hops

    def change(self, batch, rng):
        """Keep what lies around a node."""
        return hops(batch, self.hops, rng, self.schema.rooted)


class Surroundings(ViewGenerator):
    """Two views: what lies near a node of each graph, and what lies around that, for `context-prediction`.

    Hu et al. 2020, section 3.1.1. `info["anchors"]`, bool (B, T of the view), names the node itself in the first view,
    and in the second those nodes that lie in both.

    Args:
        near: how many edges away from the node the first view reaches; the authors have as many as layers.
        ring: from how many edges away to how many the second reaches, from no further than the first ends.
    """

    views, info = 2, ("anchors",)

    def __init__(self, modality: Any, near: int = 3, ring: tuple[int, int] = (2, 5)) -> None:
        if not 0 <= ring[0] <= near <= ring[1]:
            raise RecipeError(
                f"The views 'surroundings' need 0 <= ring start <= near <= ring end, not {ring[0]}, {near}, {ring[1]}."
            )
        self.modality, self.near, self.ring = modality, near, ring

    def __call__(self, batch: GraphBatch, rng: torch.Generator) -> list[View]:
        """Return what lies near a node and what lies around."""
        made = surroundings(batch, self.near, self.ring, rng, self.modality.schema.rooted)
        return [
            View(change.batch, info=change.info(batch) | {"anchors": change.batch.padded(anchor_N)[0]})
            for change, anchor_N in made
        ]


class Diffusion(Changed):
    """Two views: the graph itself, and each node joined to those that its PageRank ranks highest (MVGRL).

    Hassani and Khasahmadi 2020, section 3.1, made sparse as Klicpera et al. 2019 do. Nothing is drawn.

    Args:
        restart: chance that a walk starts anew.
        neighbors: how many edges lead to a node.
        steps: terms of the sum; what is beyond them weighs (1 - restart) ** steps.
    """

    def __init__(self, modality: Any, restart: float = 0.2, neighbors: int = 8, steps: int = 16) -> None:
        super().__init__(modality)
        if not 0 < restart < 1 or neighbors < 1 or steps < 1:
            raise RecipeError(
                f"The views 'diffusion' take a restart between 0 and 1 and at least one neighbor and step, not "
                f"{restart}, {neighbors} and {steps}."
            )
        self.restart, self.neighbors, self.steps = restart, neighbors, steps

    def change(self, batch, rng):
        """Diffuse."""
        return diffuse(batch, self.schema, self.restart, self.neighbors, self.steps)

    def __call__(self, batch, rng):
        """Return the graphs themselves and diffused."""
        changes = [unchanged(batch), self.change(batch, rng)]
        return [View(change.batch, info=change.info(batch)) for change in changes]


class Augment(Changed):
    """Two views, each of a kind that is drawn for every graph: GraphCL's random choice among its four.

    You et al. 2020, table 1 and section 5. Kinds are "node-drop", "edges", "feature-mask", "walk" and "none".

    Args:
        kinds: what is drawn among, each equally likely.
        share: of nodes dropped, of edges parted and added, of nodes masked; a walk keeps the rest.
    """

    def __init__(
        self,
        modality: Any,
        kinds: tuple[str, ...] = ("node-drop", "edges", "feature-mask", "walk"),
        share: float = 0.2,
    ) -> None:
        super().__init__(modality)
        shares("augment", share=share)
        known = {
            "node-drop": NodeDrop(modality, share),
            "edges": Edges(modality, share, share),
            "feature-mask": FeatureMask(modality, share),
            "walk": Walk(modality, 1 - share),
        }
        unknown = [kind for kind in kinds if kind not in (*known, "none")]
        if unknown or not kinds:
            raise RecipeError(f"The views 'augment' draw among {', '.join(known)} and none, not {', '.join(unknown)}.")
        self.changers = [known.get(kind) for kind in kinds]

    def change(self, batch, rng):
        """Change each graph in the way that is drawn for it."""
        kind_B = (rand(len(batch), rng) * len(self.changers)).long()
        order, parts, whole = [], [], unchanged(batch)
        for kind, changer in enumerate(self.changers):
            chosen_B = kind_B == kind
            rows = chosen_B.nonzero()[:, 0]
            if not len(rows):
                continue
            part = batch.select(rows)
            change = unchanged(part) if changer is None else changer.change(part, rng)
            whole.nodes_N[chosen_B[batch.graph]] = change.nodes_N
            whole.hidden_N[chosen_B[batch.graph]] = change.hidden_N
            whole.edges_E[chosen_B[batch.edge_graph]] = change.edges_E
            order.append(rows)
            parts.append(change.batch)
        return replace(whole, batch=type(batch).cat(parts).select(torch.cat(order).argsort())) if parts else whole


class AttributeMask(ViewGenerator):
    """One view in which some nodes' classes are hidden, to be told: attribute masking, for `masked-token`.

    Hu et al. 2020, section 3.1.2. The target "tokens", int64 (B, T), has the first class of hidden nodes and -100
    elsewhere; `info["masked_attributes"]` bool (B, T) names them. At least one node of each graph is hidden.

    Args:
        share: of each graph's nodes that are hidden.
    """

    target = "tokens"

    def __init__(self, modality: Any, share: float = 0.15) -> None:
        shares("attribute-mask", share=share)
        self.modality, self.share = modality, share

    def __call__(self, batch: GraphBatch, rng: torch.Generator) -> list[View]:
        """Hide classes."""
        schema: Schema = self.modality.schema
        if not schema.nodes:
            raise RecipeError(
                "The views 'attribute-mask' hide classes, but these nodes carry numbers alone: choose views 'plain' "
                "with the objective graphmae or simmim."
            )
        count_B = counted(self.share, batch.sizes, rng).clamp(min=1)
        hidden_N = lowest(rand(len(batch.x), rng), batch.sizes, count_B)
        target_BT, _ = batch.padded(torch.where(hidden_N, batch.x[:, 0], -100))
        hidden_BT, real_BT = batch.padded(hidden_N)
        away_NC = hidden_N[:, None].expand(-1, len(schema.nodes) + schema.values)
        view = hidden(batch, schema, away_NC)
        return [View(view, target_BT.masked_fill(~real_BT, -100), {"masked_attributes": hidden_BT})]


class Shuffled(ViewGenerator):
    """Two views: the graphs, and the same edges between nodes that have swapped what they carry (DGI).

    Velickovic et al. 2019, section 3.4. Nodes of all graphs of the batch are shuffled, so that a node's neighborhood
    is no longer its own. The target "real" is 1 in the first view and 0 in the second.

    Args:
        within: shuffle the nodes of each graph among themselves.
    """

    views, target = 2, "real"

    def __init__(self, modality: Any, within: bool = False) -> None:
        self.within = within

    def __call__(self, batch: GraphBatch, rng: torch.Generator) -> list[View]:
        """Return the graphs and their corruption."""
        luck_N = rand(len(batch.x), rng)
        order_N = (batch.graph + luck_N if self.within else luck_N).argsort()
        other = replace(batch, x=batch.x[order_N], values=batch.values[order_N])
        real_B = torch.ones_like(batch.sizes)
        return [View(batch, real_B), View(other, 1 - real_B)]
