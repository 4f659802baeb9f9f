"""MoCo v3."""

from __future__ import annotations

import torch

from sensorium import Needs, Objective, Outcome, Teacher, TrainingSize, cosine_schedule, heads, losses


class MoCoV3(Objective):
    """InfoNCE of each view's prediction with a teacher's keys of the other view (Chen, Xie and He 2021, algorithm 1).

    The keys of the joined batch are each other's negatives; there is no queue. The paper freezes a vision
    transformer's patch embedding; that is the encoder's affair, not this objective's.

    Args:
        temperature: what cosines are divided by; the loss is multiplied with twice of it, as in the paper.
        momentum: of the teacher at the start; it rises to 1 along a half cosine.
        width: hidden width of the heads.
        dim: width of the space in which views are compared.
        layers: linear maps of the projection head: 3 for transformers, 2 for convolutional networks.
    """

    needs = Needs(views=2)
    remedy = "raise objective.momentum, so that the teacher moves more slowly"
    auto = {"momentum": TrainingSize.momentum}

    def __init__(
        self, temperature: float = 0.2, momentum: float = 0.99, width: int = 2048, dim: int = 256, layers: int = 3
    ) -> None:
        super().__init__()
        self.temperature, self.momentum, self.width, self.dim, self.layers = temperature, momentum, width, dim, layers

    def build(self, encoders):
        """Make the heads, and the teacher, which has no prediction head."""
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
        """Move the teacher."""
        self.teacher.update(cosine_schedule(self.momentum, 1.0, progress))
