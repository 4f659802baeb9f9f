"""Alignment of any number of modalities."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from sensorium import Needs, Objective, Outcome, collectives, heads, losses
from sensorium.plugins.crossmodal.edges import by_edge, edges_of, weights_of


class Align(Objective):
    """CLIP's loss on each edge of a graph of modalities; as a star, that of ImageBind (Girdhar et al. 2023, eq. 1).

    The loss is the mean over the edges that have pairs anywhere; a modality without records gets no gradient.

    Args:
        edges: "all" pairs; "star", the first modality with each other; or a list of pairs of modalities.
        weights: weight of each edge, in their order; none weighs all alike.
        dim: width of the joint space.
        temperature: where the learned temperatures start, one for each edge.
        max_scale: the scales, one over the temperature, are held at or below this.
    """

    needs = Needs(views=1, modalities="many")

    def __init__(
        self,
        edges: Literal["all", "star"] | list[tuple[str, str]] = "all",
        weights: list[float] | None = None,
        dim: int = 256,
        temperature: float = 0.07,
        max_scale: float = 100.0,
    ) -> None:
        super().__init__()
        self.asked, self.weights, self.dim = edges, weights, dim
        self.first_log_scale, self.max_log_scale = math.log(1 / temperature), math.log(max_scale)

    def build(self, encoders):
        """Make a linear map to the joint space for each modality, and a scale for each edge."""
        self.edges = edges_of(self.asked, list(encoders))
        self.register_buffer("weights_E", torch.tensor(weights_of(self.weights, self.edges)), persistent=False)
        self.log_scales_E = nn.Parameter(torch.full((len(self.edges),), self.first_log_scale))
        self.project = heads.JointSpace(encoders, self.dim)

    def embed(self, modality, pooled):
        """Map features of one modality to the joint space."""
        return self.project[modality](pooled)

    def forward(self, views, encode):
        """Contrast, on each edge, the records that have both its modalities."""
        scales_E, pairs = self.log_scales_E.exp(), self.project.pairs(views, encode, self.edges)
        each, counts, features = [], [], dict[str, Tensor]()
        for edge, scale, (x_ND, y_ND) in zip(self.edges, scales_E, pairs, strict=True):
            each.append(losses.clip(x_ND, y_ND, scale))
            counts.append(float(len(x_ND)))
            features |= dict(zip(edge, (x_ND.detach(), y_ND.detach()), strict=True))
        each_E, counts_E = torch.stack(each), scales_E.new_tensor(counts)
        weights_E = self.weights_E * (collectives.total(counts_E) > 0)
        logs = by_edge(self.edges, loss=each_E, scale=scales_E, pairs=counts_E)
        return Outcome((each_E * weights_E).sum() / weights_E.sum().clamp(min=1e-9), logs, features)

    def after_step(self, progress):
        """Hold the learned scales at or below their bound, outside the graph, so that no gradient vanishes."""
        self.log_scales_E.data.clamp_(0.0, self.max_log_scale)
