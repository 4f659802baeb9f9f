"""Decoupled contrastive learning."""

from __future__ import annotations

from sensorium import Needs, Objective, Outcome, heads, losses


class Decoupled(Objective):
    """NT-Xent whose positives leave the denominator (Yeh et al. 2021, eq. 6); it learns from small batches.

    Not to be confused with debiased contrastive learning, which is called DCL too.

    Args:
        temperature: what cosines are divided by; .1 to .5.
        width: hidden width of the projection head.
        dim: width of the space in which views are compared.
        layers: linear maps of the projection head.
    """

    needs = Needs(views=2)

    def __init__(self, temperature: float = 0.1, width: int = 2048, dim: int = 128, layers: int = 2) -> None:
        super().__init__()
        self.temperature, self.width, self.dim, self.layers = temperature, width, dim, layers

    def build(self, encoders):
        """Make the projection head."""
        self.project = heads.projection_head(encoders.single.dim, self.width, self.dim, self.layers)

    def forward(self, views, encode):
        """Contrast the two views."""
        f1, f2 = encode(views)
        z1_BD, z2_BD = self.project(f1.pooled), self.project(f2.pooled)
        loss = losses.decoupled(z1_BD, z2_BD, self.temperature)
        return Outcome(loss, features={"features": f1.pooled.detach(), "projection": z1_BD.detach()})
