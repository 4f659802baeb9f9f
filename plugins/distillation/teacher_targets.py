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
    next_center: Tensor

    def __init__(self, prototypes: int) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(prototypes))
        self.register_buffer("next_center", torch.empty(0), persistent=False)

    def forward(self, logits_NK: Tensor, temperature: Tensor | float) -> Tensor:
        """Return targets (N, K); in training the logits count for the center of the next step."""
        if self.training:
            is_first = len(self.next_center) == 0  # of the parts of a batch
            self.next_center = losses.update_center(self.center if is_first else self.next_center, logits_NK)
        return losses.centered_softmax(logits_NK, self.center, temperature)

    def after_step(self) -> None:
        """Move the center."""
        if len(self.next_center):
            self.center, self.next_center = self.next_center, self.next_center[:0]


class SinkhornKnopp(nn.Module):
    """Sinkhorn-Knopp centering: the joined batch spread evenly over the prototypes (Oquab et al. 2023, section 4)."""

    def forward(self, logits_NK: Tensor, temperature: Tensor | float) -> Tensor:
        """Return targets (N, K)."""
        return losses.sinkhorn_knopp(logits_NK, temperature)
