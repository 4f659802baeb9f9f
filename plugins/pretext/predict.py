"""Prediction of what a view generator did."""

from __future__ import annotations

from torch import nn

from sensorium import Needs, Objective, Outcome, losses
from sensorium.errors import RecipeError


class Predict(Objective):
    """Cross-entropy of the class that each view carries as its target: a turn, a permutation, an order.

    One objective for every pretext task of classes, such as rotation (Gidaris et al. 2018, eq. 2 and 3) and jigsaw
    (Noroozi and Favaro 2016). The task is the view generator's; its target is int64 (B,).

    Args:
        classes: how many classes the view generator tells apart; 4 for rotation.
        width: hidden width of the head; 0 makes it linear.
    """

    needs = Needs(views=1, target="class")

    def __init__(self, classes: int = 4, width: int = 0) -> None:
        super().__init__()
        self.classes, self.width = classes, width

    def build(self, encoders):
        """Make the head."""
        dim, width = encoders.single.dim, self.width
        hidden = [nn.Linear(dim, width), nn.ReLU(inplace=True)] if width else []
        self.head = nn.Sequential(*hidden, nn.Linear(width or dim, self.classes))

    def forward(self, views, encode):
        """Tell the classes apart."""
        (view,) = views
        target_B = self.checked(view.target)
        (features,) = encode(views)
        logits_BV = self.head(features.pooled)
        loss = losses.token_cross_entropy(logits_BV, target_B)
        logs = {"accuracy": (logits_BV.detach().argmax(1) == target_B).float().mean()}
        return Outcome(loss, logs, features={"features": features.pooled.detach()})

    def checked(self, target):
        """Return the target when it is a class for each record, and none is beyond the head's."""
        if target is None or target.ndim != 1 or target.is_floating_point():
            raise RecipeError(
                "The objective 'predict' needs views whose target is one class for each record, such as 'rotation'; "
                f"these carry {'none' if target is None else f'{target.dtype} {tuple(target.shape)}'}."
            )
        if (last := int(target.amax())) >= self.classes:
            raise RecipeError(
                f"The objective 'predict' has classes 0 to {self.classes - 1}, but its views carry class {last}: "
                "set the objective's classes to how many the view generator has."
            )
        return target
