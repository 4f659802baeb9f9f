"""CLIP with hard negatives."""

from __future__ import annotations

import math

import torch
from torch import nn

from sensorium import Needs, Objective, Outcome, heads, losses


class HNCLIP(Objective):
    """CLIP's loss with hard negatives weighted up, HN-NCE (Radenovic et al. 2023, eq. 5 and 6).

    Records that lack one of the two modalities are left out of the loss.

    Args:
        dim: width of the joint space.
        alpha: weight of the own pair in the denominator; 0 takes it out, and 1 with beta 0 is CLIP.
        beta: how much harder negatives weigh more; 0 weighs all alike.
        temperature: where the learned temperature starts.
        max_scale: the scale, one over the temperature, is held at or below this.
    """

    needs = Needs(views=1, modalities="many")

    def __init__(
        self,
        dim: int = 256,
        alpha: float = 1.0,
        beta: float = 0.25,
        temperature: float = 0.07,
        max_scale: float = 100.0,
    ) -> None:
        super().__init__()
        self.dim, self.alpha, self.beta, self.max_log_scale = dim, alpha, beta, math.log(max_scale)
        self.log_scale = nn.Parameter(torch.tensor([math.log(1 / temperature)]))  # (1,): FSDP shards no scalars

    def build(self, encoders):
        """Make a linear map to the joint space for each of the two modalities."""
        self.edge = heads.the_two(encoders, "hn-clip")
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
        return Outcome(losses.hn_nce(x_ND, y_ND, scale, self.alpha, self.beta), logs, features)

    def after_step(self, progress):
        """Hold the learned scale at or below its bound, outside the graph, so that its gradient never vanishes."""
        self.log_scale.data.clamp_(0.0, self.max_log_scale)
