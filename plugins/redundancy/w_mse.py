"""W-MSE."""

from __future__ import annotations

from sensorium import Needs, Objective, Outcome, heads, losses


class WMSE(Objective):
    """W-MSE: whitening for self-supervised representation learning (Ermolov et al. 2021, eq. 5).

    The mean squared error between the two views' projections after both are whitened together. Whitening prevents
    collapse: there are neither negatives nor a teacher.

    Args:
        shrink: shrinkage of the covariance toward a multiple of the identity, 0 to 1.
        width: hidden width of the projection head.
        dim: output width of the projection head; the joined batch needs half as many records, better twice as many.
    """

    needs = Needs(views=2)
    record_keys = ()

    def __init__(self, shrink: float = 1e-3, width: int = 1024, dim: int = 64) -> None:
        super().__init__()
        self.shrink, self.width, self.dim = shrink, width, dim

    def build(self, encoders):
        """Make the projection head."""
        self.project = heads.prediction_head(encoders.single.dim, self.width, self.dim)

    def forward(self, views, encode):
        """Whiten both views together, then compare them."""
        f1, f2 = encode(views)
        z1_BD, z2_BD = self.project(f1.pooled), self.project(f2.pooled)
        loss = losses.whitening_mse(z1_BD, z2_BD, self.shrink)
        return Outcome(loss, features={"features": f1.pooled.detach(), "projection": z1_BD.detach()})
