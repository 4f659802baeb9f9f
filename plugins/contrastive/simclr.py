"""SimCLR."""

from __future__ import annotations

from sensorium import Needs, Objective, Outcome, heads, losses


class SimCLR(Objective):
    """NT-Xent between two views of each record (Chen et al. 2020, eq. 1).

    Args:
        temperature: what cosines are divided by; .1 to .5.
        width: hidden width of the projection head.
        dim: width of the space in which views are compared.
        layers: linear maps of the projection head.
    """

    needs = Needs(views=2)

    def __init__(self, temperature: float = 0.2, width: int = 2048, dim: int = 128, layers: int = 2) -> None:
        super().__init__()
        self.temperature, self.width, self.dim, self.layers = temperature, width, dim, layers

    def build(self, encoders):
        """Make the projection head."""
        self.project = heads.projection_head(encoders.single.dim, self.width, self.dim, self.layers)

    def forward(self, views, encode):
        """Contrast the two views."""
        f1, f2 = encode(views)
        z1_BD, z2_BD = self.project(f1.pooled), self.project(f2.pooled)
        features = {"features": f1.pooled.detach(), "projection": z1_BD.detach()}
        return Outcome(self.contrast(z1_BD, z2_BD), features=features)

    def contrast(self, z1_BD, z2_BD):
        """Return the loss between the projections of two views."""
        return losses.nt_xent(z1_BD, z2_BD, self.temperature)
