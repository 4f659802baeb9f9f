"""Decoupled contrastive learning."""

from __future__ import annotations

from sensorium import losses
from sensorium.plugins.contrastive.simclr import SimCLR


class Decoupled(SimCLR):
    """NT-Xent whose positives leave the denominator (Yeh et al. 2021, eq. 6); it learns from small batches.

    Not to be confused with debiased contrastive learning, which is called DCL too.
    """

    def __init__(self, temperature: float = 0.2, width: int = 2048, dim: int = 128, layers: int = 2) -> None:
        super().__init__(temperature, width, dim, layers)

    def contrast(self, z1_BD, z2_BD, **negatives):
        """Return the loss between the projections of two views."""
        return losses.decoupled(z1_BD, z2_BD, self.temperature)
