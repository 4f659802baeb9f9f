"""DINO."""

from __future__ import annotations

from typing import Any

import torch

from sensorium.plugins.distillation.self_distillation import SelfDistillation


class DINO(SelfDistillation):
    """DINO: self-distillation with no labels (Caron et al. 2021, eq. 1 to 4).

    An EMA teacher assigns the global views to prototypes, softly: a centered and sharpened softmax. The student
    predicts these assignments from every other view, global and local, by cross-entropy.

    Args:
        batch_norm: whether the head has batch norm. The paper's has none; without it, training on small data stays long
            near the uniform assignment.
    """

    def __init__(self, batch_norm: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.batch_norm = batch_norm

    def forward(self, views, encode):
        """Predict the teacher's assignments of the global views from all views."""
        features = encode(views)
        with torch.no_grad():
            teacher_features = encode.using(self.teacher.encoders)(views[: self.global_views])
        loss, logs, logits_BK = self.view_loss(features, teacher_features)
        return self.outcome(loss, logs, features[0].pooled, logits_BK)
