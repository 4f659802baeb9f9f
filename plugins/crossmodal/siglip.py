"""SigLIP."""

from __future__ import annotations

import math

import torch
from torch import nn

from sensorium import Needs, Objective, Outcome, heads, losses


class SigLIP(Objective):
    """Sigmoid loss of all pairs of two modalities (Zhai et al. 2023, algorithm 1).

    Every pair is a question of its own, so that the loss means the same at every batch size. Records that lack one of
    the two are left out.

    Args:
        dim: width of the joint space.
        temperature: where the learned temperature starts.
        bias: where the learned bias of logits starts; small batches bear one nearer to zero, -2.7 at some hundreds.
    """

    needs = Needs(views=1, modalities="many")

    def __init__(self, dim: int = 256, temperature: float = 0.1, bias: float = -10.0) -> None:
        super().__init__()
        self.dim = dim
        self.log_scale = nn.Parameter(torch.tensor([math.log(1 / temperature)]))  # (1,): FSDP shards no scalars
        self.bias = nn.Parameter(torch.tensor([bias]))

    def build(self, encoders):
        """Make a linear map to the joint space for each of the two modalities."""
        self.edge = heads.the_two(encoders, "siglip")
        self.project = heads.JointSpace(encoders, self.dim)

    def embed(self, modality, pooled):
        """Map features of one modality to the joint space."""
        return self.project[modality](pooled)

    def forward(self, views, encode):
        """Ask of every pair of records that have both modalities whether they are one."""
        ((x_ND, y_ND),) = self.project.pairs(views, encode, [self.edge])
        scale = self.log_scale.exp().squeeze()
        logs = {"scale": scale.detach(), "bias": self.bias.detach().squeeze(), "pairs": torch.tensor(float(len(x_ND)))}
        features = {name: z.detach() for name, z in zip(self.edge, (x_ND, y_ND), strict=True)}
        return Outcome(losses.siglip(x_ND, y_ND, scale, self.bias.squeeze()), logs, features)
