"""BYOL."""

from __future__ import annotations

import torch

from sensorium import Needs, Objective, Outcome, Teacher, TrainingSize, cosine_schedule, heads, losses


class BYOL(Objective):
    """BYOL: bootstrap your own latent (Grill et al. 2020, eq. 2).

    The online network predicts an EMA target network's projection of the other view, both ways; the loss is the squared
    distance of unit vectors. There are no negatives: the EMA and the prediction head prevent collapse.

    Args:
        momentum: of the EMA teacher at the start, in [0, 1); it rises to 1 along a half cosine.
        width: hidden width of the projection and the prediction head.
        dim: output width of the heads.
    """

    needs = Needs(views=2)
    record_keys = ()
    remedy = "raise objective.momentum, so that the teacher moves more slowly"
    auto = {"momentum": TrainingSize.momentum}

    def __init__(self, momentum: float = 0.99, width: int = 2048, dim: int = 256) -> None:
        super().__init__()
        self.momentum, self.width, self.dim = momentum, width, dim

    def build(self, encoders):
        """Make the heads, and the teacher, which has no prediction head."""
        self.project = heads.prediction_head(encoders.single.dim, self.width, self.dim)
        self.predict = heads.prediction_head(self.dim, self.width, self.dim)
        self.teacher = Teacher(encoders, project=self.project)

    def forward(self, views, encode):
        """Predict each view's target from the other view."""
        f1, f2 = encode(views)
        z1_BD, z2_BD = self.project(f1.pooled), self.project(f2.pooled)
        with torch.no_grad():
            t1_BD, t2_BD = (self.teacher.heads["project"](f.pooled) for f in encode.using(self.teacher.encoders)(views))
        one = losses.negative_cosine(self.predict(z1_BD), t2_BD)
        other = losses.negative_cosine(self.predict(z2_BD), t1_BD)
        loss = (2 + 2 * one) + (2 + 2 * other)
        return Outcome(loss, features={"features": f1.pooled.detach(), "projection": z1_BD.detach()})

    def after_step(self, progress):
        """Update the teacher."""
        self.teacher.update(cosine_schedule(self.momentum, 1.0, progress))
