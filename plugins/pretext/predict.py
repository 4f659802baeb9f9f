"""Pretext classification."""

from __future__ import annotations

import torch
from torch import nn

from sensorium import Needs, Objective, Outcome, check_range, losses
from sensorium.errors import RecipeError


class Predict(Objective):
    """Pretext classification: predict the class that a view generator gives its views as their target.

    One objective for pretext tasks such as rotation (Gidaris et al. 2018, eq. 2 and 3), jigsaw (Noroozi and Favaro
    2016) and colorization (Zhang et al. 2016, eq. 2). The target is int64, (B,) or, one class for each token, (B, T),
    -100 where there is none. Several views, such as tiles of a jigsaw, are encoded alone, and their features
    concatenated before the head.

    Args:
        classes: number of classes; null takes that of the view generator.
        width: hidden width of the head; 0 makes it linear.
        balance: exponent of class rebalancing, from 0, none, to 1, inverse frequency; colorization's paper has 1/2.
    """

    needs = Needs(views=1, multicrop=True, target="class")
    record_keys = ()

    def __init__(self, classes: int | None = None, width: int = 0, balance: float = 0.0) -> None:
        super().__init__()
        check_range("objective 'predict'", "[0, 1]", balance=balance)
        self.classes, self.width, self.balance = classes or 0, width, balance

    def build(self, encoders):
        """Make the head."""
        self.classes = self.classes or encoders.classes or 0
        if not self.classes:
            raise RecipeError(
                "The objective 'predict' needs views with a target of classes, such as 'rotation' or 'order'."
            )
        self.is_bounded = encoders.classes is not None
        if self.is_bounded:
            self.require_within(encoders.classes - 1)
        dim, width = encoders.single.dim * encoders.views, self.width
        hidden = [nn.Linear(dim, width), nn.ReLU(inplace=True)] if width else []
        self.head = nn.Sequential(*hidden, nn.Linear(width or dim, self.classes))

    def forward(self, views, encode):
        """Classify the views."""
        features, *others = encode(views)
        pooled = [features.pooled, *(other.pooled for other in others)]
        target = self.checked(views[0].target, features.pooled, None if others else features.tokens)
        logits = self.head(torch.cat(pooled, 1) if target.ndim == 1 else features.tokens)
        labeled, weight = target >= 0, None
        if self.balance:
            weight = losses.class_weights(target, self.classes, self.balance)
        loss = losses.token_cross_entropy(logits, target, labeled, weight)
        correct = (logits.detach().argmax(-1) == target) & labeled
        logs = {"accuracy": correct.sum() / labeled.sum().clamp(min=1)}
        return Outcome(loss, logs, features={"features": features.pooled.detach()})

    def checked(self, target, pooled, tokens):
        """Return the target when it is a class for each record or token, and none is beyond the head's."""
        shapes = [tuple(x.shape[:-1]) for x in (pooled, tokens) if x is not None]
        if target is None or target.is_floating_point() or tuple(target.shape) not in shapes:
            raise RecipeError(
                "The objective 'predict' needs views whose target is one class for each record, such as 'rotation', or "
                f"for each token; these have {'none' if target is None else f'{target.dtype} {tuple(target.shape)}'}, "
                f"the encoder gives features for {' or '.join(map(str, shapes))}."
            )
        if not self.is_bounded:
            self.require_within(int(target.amax()))
        return target

    def require_within(self, last):
        """Raise an error for a last class of the views that is beyond the head's."""
        if last >= self.classes:
            raise RecipeError(
                f"The objective 'predict' has classes 0 to {self.classes - 1}, but its views have class {last}: "
                "leave the objective's classes out, or set it to how many the view generator has."
            )
