"""DINOv2."""

from __future__ import annotations

from typing import Any

from sensorium import Teacher, losses
from sensorium.plugins.distillation.ibot import IBOT
from sensorium.plugins.distillation.teacher_targets import SinkhornKnopp


class DINOv2(IBOT):
    """DINOv2 (Oquab et al. 2023, section 4): iBOT with untied heads, Sinkhorn-Knopp centering and KoLeo.

    Pooled features and tokens have a head each. The teacher's assignments are balanced over the prototypes by
    Sinkhorn-Knopp. The KoLeo regularizer spreads the student's pooled features uniformly.

    Args:
        koleo: weight of the KoLeo regularizer, a sum over global views, >= 0.
    """

    shares_head = False
    batch_norm = True

    def __init__(self, koleo: float = 0.1, **options: Any) -> None:
        super().__init__(**options)
        self.koleo = koleo

    def build(self, encoders):
        """Make two heads, the teacher of both, and the mask token."""
        super().build(encoders)
        self.token_head = self.prototype_head(encoders.single.token_dim, batch_norm=False)
        self.teacher = Teacher(encoders, head=self.head, token_head=self.token_head)

    def teacher_targets(self):
        """Return a new module from the teacher's logits to targets."""
        return SinkhornKnopp()

    def token_heads(self):
        """Return the student's and the teacher's head for tokens."""
        return self.token_head, self.teacher.heads["token_head"]

    def view_loss(self, features, teacher_features):
        """Return the loss of views with the KoLeo regularizer, logs, and the student's logits of the first view."""
        loss, logs, logits_BK = super().view_loss(features, teacher_features)
        copies = [rows_BD for f in features[: len(teacher_features)] for rows_BD in f.pooled.chunk(self.masks)]
        koleo = sum(losses.koleo(rows_BD) for rows_BD in copies) / self.masks
        return loss + self.koleo * koleo, logs | {"koleo": koleo.detach()}, logits_BK
