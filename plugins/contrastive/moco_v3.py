"""MoCo v3."""

from __future__ import annotations

import torch

from sensorium import Needs, Objective, Outcome, Teacher, TrainingSize, cosine_schedule, heads, losses


class MoCoV3(Objective):
    """MoCo v3 (Chen, Xie and He 2021, algorithm 1): momentum contrast without a queue.

    InfoNCE of each view's prediction with a momentum encoder's keys of the other view; negatives are the keys of the
    joined batch. The paper's frozen patch embedding is an option of encoders, not of this objective.

    Args:
        temperature: softmax temperature, > 0; the loss is multiplied by twice of it, as in the paper.
        momentum: of the momentum encoder at the start, in [0, 1); it rises to 1 along a half cosine.
        width: hidden width of the heads.
        dim: output width of the heads.
        layers: linear layers of the projection head: 3 for transformers, 2 for convolutional networks.
    """

    needs = Needs(views=2)
    record_keys = ()
    remedy = "raise objective.momentum, so that the teacher moves more slowly"
    auto = {"momentum": TrainingSize.momentum}

    def __init__(
        self, temperature: float = 0.2, momentum: float = 0.99, width: int = 2048, dim: int = 256, layers: int = 3
    ) -> None:
        super().__init__()
        self.temperature, self.momentum, self.width, self.dim, self.layers = temperature, momentum, width, dim, layers

    def build(self, encoders):
        """Make the heads, and the momentum encoder, which has no prediction head."""
        self.project = heads.projection_head(encoders.single.dim, self.width, self.dim, self.layers)
        self.predict = heads.projection_head(self.dim, self.width, self.dim)
        self.teacher = Teacher(encoders, project=self.project)

    def forward(self, views, encode):
        """Contrast each view with the keys of the other."""
        f1, f2 = encode(views)
        z1_BD, z2_BD = self.project(f1.pooled), self.project(f2.pooled)
        with torch.no_grad():
            k1_BD, k2_BD = (self.teacher.heads["project"](f.pooled) for f in encode.using(self.teacher.encoders)(views))
        one = losses.info_nce(self.predict(z1_BD), k2_BD, self.temperature)
        other = losses.info_nce(self.predict(z2_BD), k1_BD, self.temperature)
        loss = 2 * self.temperature * (one + other)
        return Outcome(loss, features={"features": f1.pooled.detach(), "projection": z1_BD.detach()})

    def after_step(self, progress):
        """Update the momentum encoder."""
        self.teacher.update(cosine_schedule(self.momentum, 1.0, progress))
