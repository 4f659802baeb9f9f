"""Targets of self-distillation: a teacher's logits over prototypes as distributions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium import losses


class CenteredSoftmax(nn.Module):
    """Softmax of logits minus their EMA center, which keeps one prototype from dominating (Caron et al. 2021, eq. 4).

    Args:
        prototypes: K, number of prototypes.
    """

    center: Tensor

    def __init__(self, prototypes: int) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(prototypes))

    def forward(self, logits_NK: Tensor, temperature: Tensor | float) -> Tensor:
        """Return targets (N, K); in training the center is updated after them."""
        targets_NK = losses.centered_softmax(logits_NK, self.center, temperature)
        if self.training:
            self.center = losses.update_center(self.center, logits_NK)
        return targets_NK


class SinkhornKnopp(nn.Module):
    """Sinkhorn-Knopp centering: the joined batch spread evenly over the prototypes (Oquab et al. 2023, section 4)."""

    def forward(self, logits_NK: Tensor, temperature: Tensor | float) -> Tensor:
        """Return targets (N, K)."""
        return losses.sinkhorn_knopp(logits_NK, temperature)
