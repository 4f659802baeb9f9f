"""The base of DINO, iBOT and DINOv2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium import Assignments, Needs, Objective, Outcome, Teacher, TrainingSize, cosine_schedule, heads, losses
from sensorium.plugins.distillation.teacher_targets import CenteredSoftmax


class SelfDistillation(Objective):
    """Self-distillation: a student predicts how an EMA teacher assigns the global views to prototypes.

    Args:
        prototypes: number of prototypes of each head; the paper's 65,536 suit ImageNet, small data fewer.
        global_views: number of global views, the first ones, which alone the teacher sees; local views follow.
        temperature: softmax temperature of the student, > 0.
        teacher_temperature: softmax temperature of the teacher, at the start and after `warmup`.
        warmup: fraction of the training in which the teacher temperature warms up, 0 to 1.
        momentum: of the EMA teacher at the start, in [0, 1); it moves to `final_momentum` along a half cosine.
        final_momentum: of the EMA teacher at the end, in [0, 1]; that of the start keeps it constant, as DINOv3 does.
        freeze_prototypes: fraction of the training in which the prototypes are frozen, 0 to 1.
        width: hidden width of the heads.
        bottleneck: width of the space of the prototypes.
    """

    needs = Needs(views=2, multicrop=True)
    record_keys = ()
    remedy = "lower objective.teacher_temperature"
    auto = {"prototypes": lambda scale: scale.power_of_two(1 / 8, 64, 65_536), "momentum": TrainingSize.momentum}
    batch_norm = False
    """Whether the head of pooled features has batch norm."""
    progress: Tensor

    def __init__(
        self,
        prototypes: int = 1024,
        global_views: int = 2,
        temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.07),
        warmup: float = 0.3,
        momentum: float = 0.99,
        final_momentum: float = 1.0,
        freeze_prototypes: float = 0.01,
        width: int = 2048,
        bottleneck: int = 256,
    ) -> None:
        super().__init__()
        self.prototypes, self.global_views, self.temperature = prototypes, global_views, temperature
        self.teacher_temperature, self.warmup = teacher_temperature, warmup
        self.momentum, self.final_momentum = momentum, final_momentum
        self.freeze_prototypes, self.width, self.bottleneck = freeze_prototypes, width, bottleneck
        self.register_buffer("progress", torch.zeros(()))

    def build(self, encoders):
        """Make the head, the teacher and what turns its logits into targets."""
        self.head = self.prototype_head(encoders.single.dim, self.batch_norm)
        self.teacher = Teacher(encoders, head=self.head)
        self.targets = self.teacher_targets()

    def prototype_head(self, dim: int, batch_norm: bool) -> nn.Module:
        """Return a new head for features of width `dim`."""
        return heads.PrototypeHead(dim, self.width, self.bottleneck, self.prototypes, batch_norm)

    def teacher_targets(self) -> nn.Module:
        """Return a new module from the teacher's logits to targets."""
        return CenteredSoftmax(self.prototypes)

    def view_loss(self, features, teacher_features):
        """Return the loss of all views against the teacher's global ones, logs, and the first view's logits."""
        logits = [self.head(f.pooled, self.trains_prototypes()) for f in features]
        with torch.no_grad():
            teacher_NK = torch.cat([self.teacher.heads["head"](f.pooled) for f in teacher_features])
            targets_NK = self.targets(teacher_NK, self.current_teacher_temperature())
        targets, weights = targets_NK.chunk(len(teacher_features)), self.view_weights(len(features))
        loss = losses.swapped_cross_entropy(logits, targets, self.temperature, weights)
        used = losses.entropy(targets_NK.mean(0, keepdim=True)).exp()
        return loss, {"teacher_entropy": losses.entropy(targets_NK), "prototypes_used": used}, logits[0]

    def view_weights(self, views):
        """Return the weight of the terms of each view in the loss of views; None for all alike."""
        return None

    def outcome(self, loss, logs, pooled_BD, logits_BK):
        """Return the outcome of a step, with what the collapse alarm watches of the prototypes."""
        watched = {"features": pooled_BD.detach(), "projection": logits_BK.detach()}
        assignments = {"prototypes": Assignments(logs["prototypes_used"], logs["teacher_entropy"])}
        return Outcome(loss, logs, watched, assignments)

    def trains_prototypes(self) -> Tensor:
        """Return whether the prototypes are trained at this point of the training, bool scalar."""
        return self.progress >= self.freeze_prototypes

    def current_teacher_temperature(self) -> Tensor:
        """Return the teacher temperature at this point of the training."""
        start, end = self.teacher_temperature
        return start + (end - start) * (self.progress / max(self.warmup, 1e-9)).clamp(max=1)

    def after_step(self, progress):
        """Update the teacher, the centers of its targets, and the progress on which schedules depend."""
        self.teacher.update(cosine_schedule(self.momentum, self.final_momentum, progress))
        for module in self.modules():
            if isinstance(module, CenteredSoftmax):
                module.after_step()
        self.progress.fill_(progress)
