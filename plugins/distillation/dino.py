"""DINO."""

from __future__ import annotations

import torch

from sensorium import Assignments, Needs, Objective, Outcome, Teacher, TrainingSize, cosine_schedule, heads, losses
from sensorium.plugins.distillation.assignments import Centerd


class DINO(Objective):
    """Match a teacher's soft choice of prototype across views, large and small (Caron et al. 2021, eq. 1 to 4).

    Args:
        prototypes: how many; the paper has 65,536, small data fewer.
        large: how many views, the first ones, the teacher sees; small crops come after them.
        temperature: what the student's scores are divided by.
        teacher_temperature: what the teacher's are divided by, at the start and after `warmup`.
        warmup: share of the training in which the teacher's temperature changes.
        momentum: of the teacher at the start; it rises to 1 along a half cosine.
        freeze: share of the training in which the prototypes stay as they are.
        width: hidden width of the head.
        bottleneck: width of the space of the prototypes.
        batch_norm: whether the head has batch norm: without it, as in the paper, features of small data are slow to
            leave the state in which all look alike to every prototype.
    """

    needs = Needs(views=2, multicrop=True)
    remedy = "lower objective.teacher_temperature"
    auto = {"prototypes": lambda scale: scale.power_of_two(1 / 8, 64, 65_536), "momentum": TrainingSize.momentum}

    def __init__(
        self,
        prototypes: int = 1024,
        large: int = 2,
        temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.07),
        warmup: float = 0.3,
        momentum: float = 0.99,
        freeze: float = 0.01,
        width: int = 2048,
        bottleneck: int = 256,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        self.large, self.temperature, self.momentum, self.freeze = large, temperature, momentum, freeze
        self.teacher_temperature, self.warmup = teacher_temperature, warmup
        self.width, self.bottleneck, self.count, self.batch_norm = width, bottleneck, prototypes, batch_norm
        self.register_buffer("progress", torch.zeros(()))

    def build(self, encoders):
        """Make the head and the teacher."""
        self.head = self.new_head(encoders.single.dim, self.batch_norm)
        self.teacher = Teacher(encoders, head=self.head)
        self.assign = self.assignment()

    def new_head(self, dim, batch_norm):
        """Return a head of the objective's sizes for features of a width."""
        return heads.PrototypeHead(dim, self.width, self.bottleneck, self.count, batch_norm)

    def assignment(self):
        """Return what turns a teacher's scores into targets."""
        return Centerd(self.count)

    def forward(self, views, encode):
        """Predict the teacher's choices for the large views from every other view."""
        features = encode(views)
        with torch.no_grad():
            taught = encode.using(self.teacher.encoders)(views[: self.large])
        loss, logs, scores_BK = self.match(features, taught)
        watched = {"features": features[0].pooled.detach(), "projection": scores_BK.detach()}
        return Outcome(loss, logs, watched, self.assignments(logs))

    def assignments(self, logs):
        """Return what the collapse alarm watches of the prototypes, out of the logs of `match`."""
        return {"prototypes": Assignments(logs["prototypes_used"], logs["teacher_entropy"])}

    def match(self, features, taught):
        """Return the loss between pooled features of all views and a teacher's, logs, and the first view's scores."""
        scores = [self.head(f.pooled, self.progress >= self.freeze) for f in features]
        with torch.no_grad():
            taught_NK = torch.cat([self.teacher.heads["head"](f.pooled) for f in taught])
            targets_NK = self.assign(taught_NK, self.sharpness())
        loss = losses.swapped_cross_entropy(scores, targets_NK.chunk(len(taught)), self.temperature)
        used = losses.entropy(targets_NK.mean(0, keepdim=True)).exp()
        return loss, {"teacher_entropy": losses.entropy(targets_NK), "prototypes_used": used}, scores[0]

    def sharpness(self):
        """Return the teacher's temperature at this point of the training."""
        start, end = self.teacher_temperature
        return start + (end - start) * (self.progress / max(self.warmup, 1e-9)).clamp(max=1)

    def after_step(self, progress):
        """Move the teacher, and remember how far the training is."""
        self.teacher.update(cosine_schedule(self.momentum, 1.0, progress))
        self.progress.fill_(progress)
