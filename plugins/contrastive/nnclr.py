"""NNCLR."""

from __future__ import annotations

from sensorium import FeatureQueue, Needs, Objective, Outcome, heads, losses


class NNCLR(Objective):
    """NNCLR: nearest-neighbor contrastive learning (Dwibedi et al. 2021, eq. 3).

    InfoNCE in which a view's projection is replaced with its nearest neighbor in a queue of earlier projections; the
    other view's prediction is its positive.

    Args:
        temperature: softmax temperature, > 0; the paper's is 0.1.
        queue: number of projections in the queue (support set).
        width: hidden width of the projection and the prediction head.
        dim: output width of the heads.
    """

    needs = Needs(views=2)
    record_keys = ()
    remedy = "raise objective.temperature"
    auto = {"queue": lambda scale: scale.power_of_two(1 / 8, 64, 65_536)}

    def __init__(self, temperature: float = 0.1, queue: int = 4096, width: int = 2048, dim: int = 256) -> None:
        super().__init__()
        self.temperature, self.size, self.width, self.dim = temperature, queue, width, dim

    def build(self, encoders):
        """Make the heads and the queue."""
        self.project = heads.projection_head(encoders.single.dim, self.width, self.dim, layers=3)
        self.predict = heads.prediction_head(self.dim, self.width, self.dim)
        self.queue = FeatureQueue(self.size, self.dim)

    def forward(self, views, encode):
        """Contrast each view's nearest neighbor with the other view, then push the first view to the queue."""
        f1, f2 = encode(views)
        z1_BD, z2_BD = self.project(f1.pooled), self.project(f2.pooled)
        n1_BD, n2_BD = (losses.nearest_in_queue(z_BD, self.queue.rows) for z_BD in (z1_BD, z2_BD))
        one = losses.info_nce(n1_BD, self.predict(z2_BD), self.temperature)
        other = losses.info_nce(n2_BD, self.predict(z1_BD), self.temperature)
        if self.training:
            self.queue.push(z1_BD.detach())
        return Outcome(
            (one + other) / 2,
            logs={"queue_filled": self.queue.filled},
            features={"features": f1.pooled.detach(), "projection": z1_BD.detach()},
        )

    def after_step(self, progress):
        """Commit what was pushed to the queue."""
        self.queue.commit()
