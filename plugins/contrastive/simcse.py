"""SimCSE."""

from __future__ import annotations

from torch import nn

from sensorium import Needs, Objective, Outcome, losses


class SimCSE(Objective):
    """SimCSE: simple contrastive learning of sentence embeddings (Gao et al. 2021, eq. 1).

    InfoNCE from the first view of each record to the second views of all. In the paper the two views are one text under
    two dropout masks. Its head, a linear layer and tanh, is for training alone: embeddings are the encoder's features.

    Args:
        temperature: softmax temperature, > 0; the paper's is 0.05.
    """

    needs = Needs(views=2)
    record_keys = ()
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
