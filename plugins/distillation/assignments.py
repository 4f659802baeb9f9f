"""How a teacher's scores for prototypes become the distributions that students predict."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium import losses


class Centerd(nn.Module):
    """The softmax of scores less their running mean, in which no prototype stays ahead (Caron et al. 2021).

    Args:
        count: K, how many prototypes there are.
    """

    center: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(count))

    def forward(self, scores_NK: Tensor, temperature: Tensor | float) -> Tensor:
        """Return targets (N, K); in training the center moves after them."""
        targets_NK = losses.centered_softmax(scores_NK, self.center, temperature)
        if self.training:
            self.center = losses.update_center(self.center, scores_NK)
        return targets_NK


class Balanced(nn.Module):
    """Sinkhorn-Knopp: the rows of the joined batch shared evenly among prototypes (Oquab et al. 2023, section 4)."""

    def forward(self, scores_NK: Tensor, temperature: Tensor | float) -> Tensor:
        """Return targets (N, K)."""
        return losses.sinkhorn_knopp(scores_NK, temperature)
