"""Hard contrastive learning."""

from __future__ import annotations

from sensorium import Needs, Objective, Outcome, heads, losses


class HCL(Objective):
    """NT-Xent whose hard negatives weigh more, and whose false ones are discounted (Robinson et al. 2021, eq. 4).

    With beta 0 it is debiased contrastive learning (Chuang et al. 2020, eq. 8); with prior 0 as well, SimCLR.

    Args:
        temperature: what cosines are divided by; .1 to .5.
        beta: how much harder negatives weigh more; 0 weighs all alike.
        prior: the share of negatives that are of the anchor's own class, in [0, 1); about one over the classes.
        width: hidden width of the projection head.
        dim: width of the space in which views are compared.
        layers: linear maps of the projection head.
    """

    needs = Needs(views=2)

    def __init__(
        self,
        temperature: float = 0.5,
        beta: float = 1.0,
        prior: float = 0.1,
        width: int = 2048,
        dim: int = 128,
        layers: int = 2,
    ) -> None:
        super().__init__()
        self.temperature, self.beta, self.prior = temperature, beta, prior
        self.width, self.dim, self.layers = width, dim, layers

    def build(self, encoders):
        """Make the projection head."""
        self.project = heads.projection_head(encoders.single.dim, self.width, self.dim, self.layers)

    def forward(self, views, encode):
        """Contrast the two views."""
        f1, f2 = encode(views)
        z1_BD, z2_BD = self.project(f1.pooled), self.project(f2.pooled)
        loss = losses.hcl(z1_BD, z2_BD, self.temperature, self.beta, self.prior)
        return Outcome(loss, features={"features": f1.pooled.detach(), "projection": z1_BD.detach()})
