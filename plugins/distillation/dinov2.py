"""DINOv2."""

from __future__ import annotations

from typing import Any

from sensorium import Teacher, losses
from sensorium.plugins.distillation.gram_anchoring import GramAnchoring, GramOptions
from sensorium.plugins.distillation.ibot import IBOT
from sensorium.plugins.distillation.teacher_targets import SinkhornKnopp


class DINOv2(IBOT):
    """DINOv2 (Oquab et al. 2023, section 4): iBOT with untied heads, Sinkhorn-Knopp centering and KoLeo.

    Pooled features and tokens have a head each. The teacher's assignments are balanced over the prototypes by
    Sinkhorn-Knopp. The KoLeo regularizer spreads the student's pooled features uniformly. With `gram` it is DINOv3
    (Siméoni et al. 2025): from some point of a long training on, the similarities of tokens stay those of a teacher of
    that time.

    Args:
        koleo: weight of the KoLeo regularizer, a sum over global views, >= 0.
        gram: options of Gram anchoring; default none of it.
    """

    shares_head = False
    batch_norm = True

    def __init__(self, koleo: float = 0.1, gram: GramOptions | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.koleo, self.gram = koleo, gram

    def build(self, encoders):
        """Make two heads, the teacher of both, the Gram teacher, and the mask token."""
        super().build(encoders)
        self.token_head = self.prototype_head(encoders.single.token_dim, batch_norm=False)
        self.teacher = Teacher(encoders, head=self.head, token_head=self.token_head)
        self.anchoring = None if self.gram is None else GramAnchoring(encoders, self.gram)

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

    def view_weights(self, views):
        """Return the weights of the terms of views: those of local ones are less while tokens are anchored."""
        if self.anchoring is None or not self.anchoring.is_on:
            return None
        local = 1 + (self.anchoring.options.local_weight - 1) * self.anchoring.warmed_up(self.progress)
        return [1.0] * self.global_views + [local] * (views - self.global_views)

    def further_loss(self, global_views, features, encode):
        """Return the loss of Gram anchoring, with its logs."""
        if self.anchoring is None or not self.anchoring.is_on:
            return super().further_loss(global_views, features, encode)
        loss = self.anchoring(global_views, features, encode, self.masks)
        weight = self.anchoring.options.weight * self.anchoring.warmed_up(self.progress)
        return weight * loss, {"gram_loss": loss.detach()}

    def after_step(self, progress):
        """Update the EMA teacher, and take the Gram teacher where it is due."""
        super().after_step(progress)
        if self.anchoring is not None:
            self.anchoring.after_step(progress, self.teacher)
