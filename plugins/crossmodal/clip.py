"""CLIP."""

from __future__ import annotations

import math

import torch
from torch import nn

from sensorium import Needs, Objective, Outcome, heads, losses


class CLIP(Objective):
    """Symmetric InfoNCE between two modalities (Radford et al. 2021, figure 3).

    Records that lack one of the two are left out of the loss.

    Args:
        dim: width of the joint space.
        temperature: where the learned temperature starts.
        max_scale: the scale, one over the temperature, is held at or below this.
    """

    needs = Needs(views=1, modalities="many")

    def __init__(self, dim: int = 256, temperature: float = 0.07, max_scale: float = 100.0) -> None:
        super().__init__()
        self.dim, self.max_log_scale = dim, math.log(max_scale)
        self.log_scale = nn.Parameter(torch.tensor([math.log(1 / temperature)]))  # (1,): FSDP shards no scalars

    def build(self, encoders):
        """Make a linear map to the joint space for each of the two modalities."""
        self.edge = heads.the_two(encoders, "clip")
        self.project = heads.JointSpace(encoders, self.dim)

    def embed(self, modality, pooled):
        """Map features of one modality to the joint space."""
        return self.project[modality](pooled)

    def forward(self, views, encode):
        """Contrast the records that have both modalities."""
        ((x_ND, y_ND),) = self.project.pairs(views, encode, [self.edge])
        scale = self.log_scale.exp().squeeze()
        logs = {"scale": scale.detach(), "pairs": torch.tensor(float(len(x_ND)))}
        features = {name: z.detach() for name, z in zip(self.edge, (x_ND, y_ND), strict=True)}
        return Outcome(losses.clip(x_ND, y_ND, scale), logs, features)

    def after_step(self, progress):
        """Hold the learned scale at or below its bound, outside the graph, so that its gradient never vanishes."""
        self.log_scale.data.clamp_(0.0, self.max_log_scale)
