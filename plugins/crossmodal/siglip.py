"""SigLIP."""

from __future__ import annotations

import math

import torch
from torch import nn

from sensorium import NegativeOptions, Outcome, exactly_two, losses
from sensorium.errors import RecipeError
from sensorium.plugins.crossmodal.joint_objective import JointObjective


class SigLIP(JointObjective):
    """Sigmoid loss of all pairs of two modalities (Zhai et al. 2023, algorithm 1).

    Every pair is a question of its own, so that the loss means the same at every batch size. Records that lack one of
    the two are left out.

    Of `negatives`, groups, memory, mixtures and ramp apply. Weights do not: `beta`, `alpha` and `prior` share out what
    a row's negatives have together, and here they have nothing together. The slope of a negative is its own sigmoid,
    near one where it is hard and near nothing where it is easy, whatever the others are: `temperature` and `bias` say
    where it turns. Nor is there a `guide`: whether a pair is asked about would depend on which side asks.

    Args:
        temperature: where the learned temperature starts.
        bias: where the learned bias of logits starts; small batches bear one nearer to zero, -2.7 at some hundreds.
    """

    def __init__(
        self, dim: int = 256, temperature: float = 0.1, bias: float = -10.0, negatives: NegativeOptions | None = None
    ) -> None:
        super().__init__(dim, negatives)
        if negatives and (negatives.beta, negatives.alpha, negatives.prior, negatives.guide) != (0.0, 1.0, 0.0, None):
            raise RecipeError(
                "In 'siglip', pairs do not compete: of negatives, leave beta, alpha, prior and guide out."
            )
        self.log_scale = nn.Parameter(torch.tensor([math.log(1 / temperature)]))  # (1,): FSDP shards no scalars
        self.bias = nn.Parameter(torch.tensor([bias]))

    def build(self, encoders):
        """Make a linear map to the joint space for each of the two modalities."""
        self.build_space(encoders, [exactly_two(encoders, "siglip")])

    def forward(self, views, encode):
        """Ask of every pair of records that have both modalities whether they are one."""
        placed, (edge,) = self.project.place(views, encode, self.edges), self.edges
        pair, scale, bias = placed.pair(*edge), self.log_scale.exp().squeeze(), self.bias.squeeze()
        loss = losses.siglip(pair.x, pair.y, scale, bias, **self.extra_negatives(placed, edge, pair))
        self.remember(placed)
        logs = {"scale": scale.detach(), "bias": bias.detach(), "pairs": torch.tensor(float(len(pair.x)))}
        features = {name: z.detach() for name, z in zip(edge, pair[:2], strict=True)}
        return Outcome(loss, logs | self.negatives.logs(), features)

    def logit_parameters(self):
        """Return the log of the learned scale and the bias, as scalars."""
        return {"log_scale": self.log_scale.detach().squeeze(), "bias": self.bias.detach().squeeze()}
