"""SimSiam."""

from __future__ import annotations

from sensorium import Needs, Objective, Outcome, heads, losses


class SimSiam(Objective):
    """SimSiam: simple Siamese representation learning (Chen and He 2021, eq. 2 to 4).

    Each view's prediction approaches the other view's projection in cosine; a stop-gradient on the projection alone
    prevents collapse. The paper keeps the prediction head's learning rate constant; here it follows the schedule.

    Args:
        width: width of the projection head, hidden and output.
        bottleneck: hidden width of the prediction head; the paper's is a quarter of `width`.
    """

    needs = Needs(views=2)
    record_keys = ()

    def __init__(self, width: int = 1024, bottleneck: int = 256) -> None:
        super().__init__()
        self.width, self.bottleneck = width, bottleneck

    def build(self, encoders):
        """Make the heads."""
        self.project = heads.projection_head(encoders.single.dim, self.width, self.width, layers=3)
        self.predict = heads.prediction_head(self.width, self.bottleneck, self.width)

    def forward(self, views, encode):
        """Predict each view's projection from the other view."""
        f1, f2 = encode(views)
        z1_BD, z2_BD = self.project(f1.pooled), self.project(f2.pooled)
        one = losses.negative_cosine(self.predict(z1_BD), z2_BD)
        other = losses.negative_cosine(self.predict(z2_BD), z1_BD)
        return Outcome((one + other) / 2, features={"features": f1.pooled.detach(), "projection": z1_BD.detach()})
