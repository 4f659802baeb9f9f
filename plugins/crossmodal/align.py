"""Alignment of any number of modalities."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from sensorium import NegativeOptions, Outcome, collectives
from sensorium.plugins.crossmodal.edges import anchored, by_edge, edges_of, weights_of
from sensorium.plugins.crossmodal.joint_objective import Direction, JointObjective


class Align(JointObjective):
    """CLIP's loss on each edge of a graph of modalities; as a star, that of ImageBind (Girdhar et al. 2023, eq. 1).

    The loss is the mean over the edges that have pairs anywhere; a modality without records gets no gradient.

    Args:
        edges: "all" pairs; "star", the first modality with each other; "chain", each with the next; or a list of
            pairs of modalities.
        weights: weight of each edge, in their order; none weighs all alike.
        temperature: where the learned temperatures start, one for each edge.
        max_scale: the scales, one over the temperature, are held at or below this.
        anchor: a modality whose features are the joint space as they are, and stay it: its encoder is frozen, and
            `dim` is its width.
        direction: which modality of each edge looks for the other: "both", the "first" that the edge names alone, or
            the "second" alone. One that does not look is looked for, and learns by that.
    """

    def __init__(
        self,
        edges: Literal["all", "star", "chain"] | list[tuple[str, str]] = "all",
        weights: list[float] | None = None,
        dim: int = 256,
        temperature: float = 0.07,
        max_scale: float = 100.0,
        anchor: str | None = None,
        negatives: NegativeOptions | None = None,
        direction: Direction = "both",
    ) -> None:
        super().__init__(dim, negatives)
        self.asked, self.weights, self.anchor, self.direction = edges, weights, anchor, direction
        self.first_log_scale, self.max_log_scale = math.log(1 / temperature), math.log(max_scale)

    def build(self, encoders):
        """Make a linear map to the joint space for each modality but the anchor, and a scale for each edge."""
        if self.anchor is not None:
            self.dim = anchored(self.anchor, encoders)
        self.build_space(encoders, edges_of(self.asked, list(encoders)), self.anchor)
        self.register_buffer("weights_E", torch.tensor(weights_of(self.weights, self.edges)), persistent=False)
        self.log_scales_E = nn.Parameter(torch.full((len(self.edges),), self.first_log_scale))

    def forward(self, views, encode):
        """Contrast, on each edge, the records that have both its modalities."""
        scales_E, placed = self.log_scales_E.exp(), self.project.place(views, encode, self.edges)
        each, counts, features = [], [], dict[str, Tensor]()
        for edge, scale in zip(self.edges, scales_E, strict=True):
            pair = placed.pair(*edge)
            each.append(self.contrast(placed, edge, pair, scale, self.direction))
            counts.append(float(len(pair.x)))
            features |= {name: z.detach() for name, z in zip(edge, pair[:2], strict=True)}
        self.remember(placed)
        each_E, counts_E = torch.stack(each), scales_E.new_tensor(counts)
        weights_E = self.weights_E * (collectives.all_reduce_sum(counts_E) > 0)
        logs = by_edge(self.edges, loss=each_E, scale=scales_E, pairs=counts_E) | self.negatives.logs()
        return Outcome((each_E * weights_E).sum() / weights_E.sum().clamp(min=1e-9), logs, features)

    def after_step(self, progress):
        """Hold the learned scales at or below their bound, outside the graph, so that no gradient vanishes."""
        super().after_step(progress)
        self.log_scales_E.data.clamp_(0.0, self.max_log_scale)
