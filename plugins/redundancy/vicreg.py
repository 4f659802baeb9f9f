"""VICReg."""

from __future__ import annotations

from sensorium import Needs, Objective, Outcome, heads, losses


class VICReg(Objective):
    """VICReg: variance-invariance-covariance regularization (Bardes et al. 2022, eq. 6).

    The two views' embeddings are equal (invariance), each dimension keeps a standard deviation of 1 over the batch
    (variance), and dimensions are decorrelated (covariance).

    Args:
        invariance: weight of the mean squared error between views.
        variance: weight of the hinge on each dimension's std, summed over views; the authors' code halves it.
        covariance: weight of the squared covariances between dimensions.
        width: hidden width of the expander.
        dim: output width of the expander; the paper's is 8192, for large batches.
        layers: linear layers of the expander.
    """

    needs = Needs(views=2)
    record_keys = ()
    remedy = "raise objective.variance"

    def __init__(
        self,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        width: int = 1024,
        dim: int = 512,
        layers: int = 3,
    ) -> None:
        super().__init__()
        self.weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
        self.width, self.dim, self.layers = width, dim, layers

    def build(self, encoders):
        """Make the expander head."""
        self.expand = heads.prediction_head(encoders.single.dim, self.width, self.dim, self.layers)

    def forward(self, views, encode):
        """Compare the two views, and the dimensions of each."""
        f1, f2 = encode(views)
        z1_BD, z2_BD = self.expand(f1.pooled), self.expand(f2.pooled)
        loss = losses.vicreg(z1_BD, z2_BD, **self.weights)
        return Outcome(loss, features={"features": f1.pooled.detach(), "projection": z1_BD.detach()})
