"""SimCSE."""

from __future__ import annotations

from torch import nn

from sensorium import Needs, Objective, Outcome, losses


class SimCSE(Objective):
    """InfoNCE from each record's first view to all second ones (Gao et al. 2021, eq. 1).

    In the paper the two views are one text under two dropout masks. Its head, a linear map and tanh, serves training
    alone: embeddings are the encoder's features.

    Args:
        temperature: what cosines are divided by.
    """

    needs = Needs(views=2)
    remedy = "raise objective.temperature"

    def __init__(self, temperature: float = 0.05) -> None:
        super().__init__()
        self.temperature = temperature

    def build(self, encoders):
        """Make the head."""
        dim = encoders.single.dim
        self.head = nn.Sequential(nn.Linear(dim, dim), nn.Tanh())

    def forward(self, views, encode):
        """Contrast the two views."""
        f1, f2 = encode(views)
        z1_BD, z2_BD = self.head(f1.pooled), self.head(f2.pooled)
        loss = losses.info_nce(z1_BD, z2_BD, self.temperature)
        return Outcome(loss, features={"features": f1.pooled.detach(), "projection": z1_BD.detach()})
