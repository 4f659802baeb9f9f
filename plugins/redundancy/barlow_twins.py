"""Barlow Twins."""

from __future__ import annotations

from sensorium import Needs, Objective, Outcome, heads, losses


class BarlowTwins(Objective):
    """Barlow Twins: redundancy reduction (Zbontar et al. 2021, eq. 1).

    The cross-correlation matrix of the two views' projections over the batch approaches the identity: equal views,
    decorrelated dimensions.

    Args:
        redundancy: lambda, weight of the squared off-diagonal entries, > 0; the paper's is 0.005.
        width: hidden width of the projection head.
        dim: output width of the projection head; the paper's is 8192, for large batches.
        layers: linear layers of the projection head.
    """

    needs = Needs(views=2)
    record_keys = ()

    def __init__(self, redundancy: float = 0.005, width: int = 1024, dim: int = 512, layers: int = 3) -> None:
        super().__init__()
        self.redundancy, self.width, self.dim, self.layers = redundancy, width, dim, layers

    def build(self, encoders):
        """Make the projection head."""
        self.project = heads.prediction_head(encoders.single.dim, self.width, self.dim, self.layers)

    def forward(self, views, encode):
        """Correlate the two views."""
        f1, f2 = encode(views)
        z1_BD, z2_BD = self.project(f1.pooled), self.project(f2.pooled)
        loss = losses.barlow_twins(z1_BD, z2_BD, self.redundancy)
        return Outcome(loss, features={"features": f1.pooled.detach(), "projection": z1_BD.detach()})
