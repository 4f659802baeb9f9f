"""DINO."""

from __future__ import annotations

import torch

from sensorium import Needs, Objective, Teacher, heads, losses


class DINO(Objective):
    """Match a teacher's soft choice of prototype across views, large and small (Caron et al. 2021, eq. 1 to 4).

    Args:
        prototypes: how many; the paper has 65,536, small data fewer.
        large: how many views, the first ones, the teacher sees; small crops come after them.
        temperature: what the student's scores are divided by.
        teacher_start: what the teacher's scores are divided by at the start.
        teacher_temperature: and at the end of `warmup`, from when on it stays.
        warmup: share of the training in which the teacher's temperature rises.
        momentum: of the teacher at the start; it rises to 1 along a half cosine.
        freeze: share of the training in which the prototypes stay as they are.
        width: hidden width of the head.
        bottleneck: width of the space of the prototypes.
    """

    needs = Needs(views=2, multicrop=True)

    def __init__(
        self,
        prototypes: int = 1024,
        large: int = 2,
        temperature: float = 0.1,
        teacher_start: float = 0.04,
        teacher_temperature: float = 0.07,
        warmup: float = 0.3,
        momentum: float = 0.99,
        freeze: float = 0.01,
        width: int = 2048,
        bottleneck: int = 256,
    ) -> None:
        super().__init__()
        self.count, self.large, self.temperature = prototypes, large, temperature
        self.teacher_temperatures, self.warmup = (teacher_start, teacher_temperature), warmup
        self.momentum, self.freeze, self.width, self.bottleneck = momentum, freeze, width, bottleneck
        self.register_buffer("progress", torch.zeros(()))

    def build(self, encoders):
        """Make the head, the teacher and the centre."""
        self.head = heads.PrototypeHead(encoders.single.dim, self.width, self.bottleneck, self.count)
        self.teacher = Teacher(encoders, head=self.head)
        self.register_buffer("centre", torch.zeros(self.count))

    def forward(self, views, encode):
        """Predict the teacher's choices for the large views from every other view."""
        features = encode(views)
        scores = [self.head(f.pooled, self.learn) for f in features]
        with torch.no_grad():
            taught = encode.using(self.teacher.encoders)(views[: self.large])
            targets = self.assign(torch.cat([self.teacher.heads["head"](f.pooled) for f in taught]), "centre")
        loss = losses.swapped_cross_entropy(scores, targets.chunk(len(taught)), self.temperature)
        return self.outcome(loss, targets, features[0])

    def assign(self, scores_NK, centre):
        """Return the targets that a teacher's scores stand for, and move the centre of that name."""
        centre_K = getattr(self, centre)
        targets_NK = losses.centred_softmax(scores_NK, centre_K, self.sharpness)
        if self.training:
            setattr(self, centre, losses.moved_centre(centre_K, scores_NK))
        return targets_NK
