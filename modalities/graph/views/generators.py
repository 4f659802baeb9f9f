"""The registered view generators of graphs."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any

import torch

from sensorium import RowStreams, View, ViewGenerator, check_range, host_generator, to_device
from sensorium.errors import RecipeError
from sensorium.modalities.graph.batch import GraphBatch, Schema
from sensorium.modalities.graph.views.augmentations import (
    Augmented,
    drop_nodes,
    mask_features,
    perturb_edges,
    sample_counts,
    smallest,
    unchanged,
    with_masked_features,
)
from sensorium.modalities.graph.views.subgraphs import (
    ego_net,
    neighborhood_and_context,
    ppr_diffusion,
    random_walk_subgraph,
)

STEPS = 512
"""Most steps of a random walk; one in a small connected component has visited it all long before."""


class Plain(ViewGenerator):
    """One view: the graph without augmentation, for objectives that draw their own masks."""

    def __init__(self, modality: Any) -> None:
        pass

    def __call__(self, batch: GraphBatch, rng: torch.Generator) -> list[View]:
        """Return the graphs themselves."""
        return [View(batch)]


class GraphViews(ViewGenerator):
    """Views that are made on the host, where numbers of nodes and edges are known, and copied to the device at once."""

    @abstractmethod
    def on_host(self, batch: GraphBatch, draws: RowStreams, device: torch.device) -> list[View]:
        """Return the views of graphs on the CPU, on the CPU.

        Args:
            batch: the graphs.
            draws: of each graph.
            device: where the views will be, for what is worth computing there.
        """

    def __call__(self, batch: GraphBatch, rng: torch.Generator) -> list[View]:
        """Return the views on the device of the batch."""
        draws = RowStreams(len(batch), host_generator(rng))
        return [_moved(view, batch) for view in self.on_host(batch.host, draws, batch.device)]


def _moved(view: View, original: GraphBatch) -> View:
    """Return a view on the device of the graphs that it was made from."""
    batch = original if view.batch is original.host else view.batch.to(original.device)
    target = [] if view.target is None else [view.target]
    moved = to_device([*view.info.values(), *target], original.device)
    return View(batch, moved[-1] if target else None, dict(zip(view.info, moved, strict=False)))


class GraphAugmentation(GraphViews):
    """Two views, each augmented by draws of its own.

    Their `info` says what is kept: "kept_nodes" and "masked_nodes" bool (B, T), "kept_edges" bool (B, most edges).
    """

    views = 2

    def __init__(self, modality: Any) -> None:
        self.modality = modality

    @property
    def schema(self) -> Schema:
        """The features of the graphs; known once the modality is fitted."""
        return self.modality.schema

    @abstractmethod
    def augment(self, batch: GraphBatch, draws: RowStreams) -> Augmented:
        """Return one augmented batch, and what is kept of the graphs, on the host."""

    def on_host(self, batch: GraphBatch, draws: RowStreams, device: torch.device) -> list[View]:
        """Augment the graphs once for each view."""
        augmented = [self.augment(batch, draws) for _ in range(self.views)]
        return [View(one.batch, info=one.info(batch)) for one in augmented]


class NodeDropping(GraphAugmentation):
    """Node dropping: two views, each without a fraction of the nodes and their edges (GraphCL, You et al. 2020).

    Args:
        ratio: fraction of each graph's nodes that is dropped, 0 to 1; one node always stays. GraphCL has 0.2.
    """

    def __init__(self, modality: Any, ratio: float = 0.1) -> None:
        super().__init__(modality)
        check_range("views 'node-dropping'", "[0, 1]", ratio=ratio)
        self.ratio = ratio

    def augment(self, batch, draws):
        """Drop nodes."""
        return drop_nodes(batch, self.ratio, draws, self.schema.rooted)


class EdgePerturbation(GraphAugmentation):
    """Edge perturbation: two views, each with some edges dropped and others added (GraphCL, You et al. 2020).

    Both directions of an edge are dropped together; new edges have both directions and masked features.

    Args:
        drop_ratio: fraction of each graph's undirected edges that is dropped, 0 to 1.
        add_ratio: number of edges added, as a fraction of the undirected edges, 0 to 1; draws that hit an existing
            edge add none.
    """

    def __init__(self, modality: Any, drop_ratio: float = 0.1, add_ratio: float = 0.1) -> None:
        super().__init__(modality)
        check_range("views 'edge-perturbation'", "[0, 1]", drop_ratio=drop_ratio, add_ratio=add_ratio)
        self.drop_ratio, self.add_ratio = drop_ratio, add_ratio

    def augment(self, batch, draws):
        """Perturb edges."""
        return perturb_edges(batch, self.schema, self.drop_ratio, self.add_ratio, draws)


class FeatureMasking(GraphAugmentation):
    """Feature masking: two views, each with masked node features (GraphCL, You et al. 2020; GRACE, Zhu et al. 2020).

    A masked categorical feature has the mask category, a masked numeric feature is 0.

    Args:
        mask_ratio: fraction of each graph's nodes whose features are all masked, 0 to 1 (GraphCL's attribute masking).
        feature_p: probability that a feature is masked in all nodes of a graph, 0 to 1 (GRACE, section 3.2.2).
    """

    def __init__(self, modality: Any, mask_ratio: float = 0.1, feature_p: float = 0.0) -> None:
        super().__init__(modality)
        check_range("views 'feature-masking'", "[0, 1]", mask_ratio=mask_ratio, feature_p=feature_p)
        self.mask_ratio, self.feature_p = mask_ratio, feature_p

    def augment(self, batch, draws):
        """Mask node features."""
        return mask_features(batch, self.schema, self.mask_ratio, self.feature_p, draws)


class Grace(GraphAugmentation):
    """Edge dropping and feature masking, the augmentations of GRACE and BGRL for node-level learning.

    Zhu et al. 2020, section 3.2; Thakoor et al. 2022, section 3.1. Two views; all nodes are kept.

    Args:
        drop_ratio: fraction of each graph's undirected edges that is dropped, 0 to 1.
        feature_p: probability that a feature is masked in all nodes of a graph, 0 to 1.
        mask_ratio: fraction of each graph's nodes whose features are all masked, 0 to 1.
    """

    def __init__(self, modality: Any, drop_ratio: float = 0.5, feature_p: float = 0.1, mask_ratio: float = 0.0) -> None:
        super().__init__(modality)
        check_range("views 'grace'", "[0, 1]", drop_ratio=drop_ratio, feature_p=feature_p, mask_ratio=mask_ratio)
        self.drop_ratio, self.feature_p, self.mask_ratio = drop_ratio, feature_p, mask_ratio

    def augment(self, batch, draws):
        """Drop edges, then mask node features."""
        dropped = perturb_edges(batch, self.schema, self.drop_ratio, 0.0, draws)
        masked = mask_features(dropped.batch, self.schema, self.mask_ratio, self.feature_p, draws)
        return replace(dropped, batch=masked.batch, masked_N=masked.masked_N)


class Subgraph(GraphAugmentation):
    """Random-walk subgraph: two views, each induced by the nodes that random walks visit (GraphCL, You et al. 2020).

    Args:
        ratio: fraction of each graph's nodes that is kept, 0 to 1, where as many can be reached.
    """

    def __init__(self, modality: Any, ratio: float = 0.8) -> None:
        super().__init__(modality)
        check_range("views 'subgraph'", "[0, 1]", ratio=ratio)
        self.ratio = ratio

    def augment(self, batch, draws):
        """Sample a random-walk subgraph."""
        return random_walk_subgraph(batch, self.ratio, STEPS, draws, self.schema.rooted)


class EgoNet(GraphAugmentation):
    """Ego-net: two views, each the k-hop neighborhood of a node, drawn anew for each view.

    Args:
        hops: k, distance in edges up to which nodes are kept, >= 0.
    """

    def __init__(self, modality: Any, hops: int = 3) -> None:
        super().__init__(modality)
        check_range("views 'ego-net'", "[0, inf)", hops=hops)
        self.hops = hops

    def augment(self, batch, draws):
        """Sample a k-hop neighborhood."""
        return ego_net(batch, self.hops, draws, self.schema.rooted)


class ContextGraph(GraphViews):
    """Two views: the k-hop neighborhood of a node, and its context graph, for `context-prediction`.

    Hu et al. 2020, section 3.1.1. `info["anchors"]`, bool (B, T of the view), marks the node itself in the first view
    and the context anchor nodes, which both views share, in the second.

    Args:
        hops: K, radius of the neighborhood in edges; usually the number of encoder layers.
        r1: distance in edges at which the context graph starts, 0 <= r1 <= hops.
        r2: distance in edges at which the context graph ends, r2 >= hops.
    """

    views, info = 2, ("anchors",)

    def __init__(self, modality: Any, hops: int = 3, r1: int = 2, r2: int = 5) -> None:
        if not 0 <= r1 <= hops <= r2:
            raise RecipeError(
                f"The views 'context-graph' need 0 <= r1 <= hops <= r2, not r1 = {r1}, hops = {hops}, r2 = {r2}."
            )
        self.modality, self.hops, self.r1, self.r2 = modality, hops, r1, r2

    def on_host(self, batch: GraphBatch, draws: RowStreams, device: torch.device) -> list[View]:
        """Return the neighborhoods and the context graphs."""
        rooted = self.modality.schema.rooted
        return [
            View(one.batch, info=one.info(batch) | {"anchors": one.batch.padded(anchor_N)[0]})
            for one, anchor_N in neighborhood_and_context(batch, self.hops, self.r1, self.r2, draws, rooted)
        ]


class PPRDiffusion(GraphViews):
    """PPR diffusion: two views, the graph and its diffusion by personalized PageRank (MVGRL).

    Hassani and Khasahmadi 2020, section 3.1, sparsified as graph diffusion convolution (GDC, Klicpera et al. 2019)
    does. Nothing is drawn.

    Args:
        alpha: teleport (restart) probability, between 0 and 1; 0.2 is MVGRL's.
        top_k: number of edges kept into each node, >= 1.
        steps: number of terms of the power series, >= 1; the truncated rest has weight (1 - alpha) ** steps.
    """

    views = 2

    def __init__(self, modality: Any, alpha: float = 0.2, top_k: int = 8, steps: int = 16) -> None:
        check_range("views 'ppr-diffusion'", "(0, 1)", alpha=alpha)
        check_range("views 'ppr-diffusion'", "[1, inf)", top_k=top_k, steps=steps)
        self.modality, self.alpha, self.top_k, self.steps = modality, alpha, top_k, steps

    def on_host(self, batch: GraphBatch, draws: RowStreams, device: torch.device) -> list[View]:
        """Return the graphs themselves and diffused; the PageRank is computed on the device."""
        diffused = ppr_diffusion(batch, self.modality.schema, self.alpha, self.top_k, self.steps, device)
        return [View(one.batch, info=one.info(batch)) for one in (unchanged(batch), diffused)]


class Augment(GraphAugmentation):
    """GraphCL's augmentation policy: two views, each of a kind drawn at random for every graph.

    You et al. 2020, table 1 and section 5. Kinds are "node-dropping", "edge-perturbation", "feature-masking",
    "subgraph" and "none".

    Args:
        kinds: the kinds to draw from, with equal probability.
        ratio: fraction of nodes dropped, of edges dropped and added, and of nodes masked, 0 to 1; a subgraph keeps
            1 - ratio of the nodes. GraphCL has 0.2.
    """

    def __init__(
        self,
        modality: Any,
        kinds: tuple[str, ...] = ("node-dropping", "edge-perturbation", "feature-masking", "subgraph"),
        ratio: float = 0.2,
    ) -> None:
        super().__init__(modality)
        check_range("views 'augment'", "[0, 1]", ratio=ratio)
        known = {
            "node-dropping": NodeDropping(modality, ratio),
            "edge-perturbation": EdgePerturbation(modality, ratio, ratio),
            "feature-masking": FeatureMasking(modality, ratio),
            "subgraph": Subgraph(modality, 1 - ratio),
        }
        unknown = [kind for kind in kinds if kind not in (*known, "none")]
        if unknown or not kinds:
            raise RecipeError(
                f"The option kinds of the views 'augment' takes {', '.join(known)} and none, not "
                f"{', '.join(unknown) or 'an empty list'}."
            )
        self.augmentations = [known.get(kind) for kind in kinds]

    def augment(self, batch, draws):
        """Augment each graph by the kind that is drawn for it."""
        kind_B = (draws.each() * len(self.augmentations)).long()
        order, parts, whole = [], [], unchanged(batch)
        for kind, augmentation in enumerate(self.augmentations):
            chosen_B = kind_B == kind
            rows = chosen_B.nonzero()[:, 0]
            if not len(rows):
                continue
            part = batch.select(rows)
            augmented = unchanged(part) if augmentation is None else augmentation.augment(part, draws.select(rows))
            whole.kept_N[chosen_B[batch.graph_index]] = augmented.kept_N
            whole.masked_N[chosen_B[batch.graph_index]] = augmented.masked_N
            whole.kept_E[chosen_B[batch.edge_graph_index]] = augmented.kept_E
            order.append(rows)
            parts.append(augmented.batch)
        return replace(whole, batch=type(batch).cat(parts).select(torch.cat(order).argsort())) if parts else whole


class AttributeMasking(GraphViews):
    """Attribute masking: one view with masked nodes whose category is to be predicted, for `masked-token`.

    Hu et al. 2020, section 3.1.2. The target "tokens", int64 (B, T), is the first category of masked nodes and -100
    elsewhere; `info["masked_nodes"]` bool (B, T) marks them. At least one node of each graph is masked.

    Args:
        mask_ratio: fraction of each graph's nodes that is masked, 0 to 1; 0.15 is the paper's.
    """

    target = "tokens"

    def __init__(self, modality: Any, mask_ratio: float = 0.15) -> None:
        check_range("views 'attribute-masking'", "[0, 1]", mask_ratio=mask_ratio)
        self.modality, self.mask_ratio = modality, mask_ratio

    def on_host(self, batch: GraphBatch, draws: RowStreams, device: torch.device) -> list[View]:
        """Mask node features."""
        schema: Schema = self.modality.schema
        if not schema.node_categories:
            raise RecipeError(
                "The views 'attribute-masking' need categorical node features, but these nodes have only numeric ones: "
                "choose views 'plain' with the objective graphmae or simmim."
            )
        count_B = sample_counts(self.mask_ratio, batch.layout, draws).clamp(min=1)
        masked_N = smallest(draws.rand(batch.graph_index), batch.layout, count_B)
        target_BT, _ = batch.padded(torch.where(masked_N, batch.x[:, 0], -100))
        masked_BT, valid_BT = batch.padded(masked_N)
        masked_NC = masked_N[:, None].expand(-1, len(schema.node_categories) + schema.node_values)
        view = with_masked_features(batch, schema, masked_NC)
        return [View(view, target_BT.masked_fill(~valid_BT, -100), {"masked_nodes": masked_BT})]


class FeatureShuffling(GraphViews):
    """Feature shuffling, the corruption function of DGI: two views, the graphs and their corruption.

    Velickovic et al. 2019, section 3.4. The corruption keeps the edges and permutes the node features over all graphs
    of the batch. The target "real" is 1 in the first view and 0 in the second.

    Args:
        within_graph: permute the node features within each graph instead.
    """

    views, target = 2, "real"

    def __init__(self, modality: Any, within_graph: bool = False) -> None:
        self.within_graph = within_graph

    def on_host(self, batch: GraphBatch, draws: RowStreams, device: torch.device) -> list[View]:
        """Return the graphs and their corruption."""
        draw_N = draws.rand(batch.graph_index)
        order_N = (batch.graph_index + draw_N if self.within_graph else draw_N).argsort()
        corrupted = replace(batch, x=batch.x[order_N], values=batch.values[order_N])
        real_B = torch.ones(len(batch), dtype=torch.int64)
        return [View(batch, real_B), View(corrupted, 1 - real_B)]
