"""Regression on targets that are given."""

from __future__ import annotations

from typing import Literal

import torch

from sensorium import Needs, Objective, Outcome, SensoriumError, Standardization, check_range, heads, losses


class Regress(Objective):
    """Regression of standardized targets by an MLP on the features.

    Targets are descriptors of the record before augmentation, as CheMeleon learns those of molecules (Burns et al.
    2025), or the features of a frozen teacher (`modalities.NAME.teacher`): distillation into an architecture of one's
    own. Before the first step mean and standard deviation of each target are learned from the train part; constant
    targets are dropped, undefined ones (nan) left out.

    Args:
        targets: "descriptors" of the modality; "teacher", the pooled features of the frozen teacher; "teacher-tokens",
            its tokens, predicted from the encoder's, whose map is resized to the teacher's grid.
        fraction: fraction of the targets of each record that a step predicts, drawn at random, in (0, 1]; CheMeleon
            has 0.15.
        clip: standardized targets are clamped to +-clip, > 0; CheMeleon has 6.
        penalty: of the difference: "l2" the square, "l1" the absolute value, "smooth-l1" both.
        width: hidden width of the head.
        layers: linear layers of the head, >= 1; 1 is a linear map.
    """

    needs = Needs(descriptors=True)
    record_keys = ()
    remedy = "raise optimizer.warmup"
    fits = 4096

    def __init__(
        self,
        targets: Literal["descriptors", "teacher", "teacher-tokens"] = "descriptors",
        fraction: float = 1.0,
        clip: float = 6.0,
        penalty: Literal["l2", "l1", "smooth-l1"] = "l2",
        width: int = 512,
        layers: int = 2,
    ) -> None:
        super().__init__()
        check_range("objective 'regress'", "(0, 1]", fraction=fraction)
        check_range("objective 'regress'", "(0, inf)", clip=clip)
        check_range("objective 'regress'", "[1, inf)", layers=layers, width=width)
        if not isinstance(self, cls := self.variant({"targets": targets})):
            raise SensoriumError(f"Targets '{targets}' are those of the class {cls.__name__}: make one of it.")
        self.fraction, self.clip, self.penalty = fraction, clip, penalty
        self.width, self.layers = width, layers

    @classmethod
    def variant(cls, options):
        """Return the class of the targets."""
        from sensorium.plugins.predictive.distill import Distill, DistillTokens

        return {"teacher": Distill, "teacher-tokens": DistillTokens}.get(options.get("targets"), Regress)

    def build(self, encoders):
        """Make the head, and what standardizes targets."""
        dim, width = self.widths(encoders)
        self.head = heads.bottleneck_head(dim, self.width, width, self.layers)
        self.standardize = Standardization(width, self.clip)

    def widths(self, encoders):
        """Return the width of the features that targets are predicted from, and P."""
        (modality,) = encoders
        return encoders.single.dim, encoders.descriptors[modality]

    def fit(self, batches, encode):
        """Learn the statistics of targets."""
        self.standardize.fit(self.rows(self.targets(view, encode)) for (view,) in batches)

    def rows(self, targets):
        """Return rows of targets (N, P) to learn statistics from."""
        return targets

    def targets(self, view, encode):
        """Return targets (..., P), nan where undefined."""
        return view.descriptors

    def predict(self, features, targets):
        """Return predictions of the shape of the targets."""
        return self.head(features.pooled)

    def forward(self, views, encode):
        """Predict the targets."""
        (view,) = views
        with torch.no_grad():
            targets, mask = self.standardize(self.targets(view, encode))
            if self.fraction < 1:
                mask = mask & (torch.rand(mask.shape, device=mask.device) < self.fraction)
        (features,) = encode(views)
        predictions = self.predict(features, targets)
        loss = losses.element_regression(predictions, targets, mask, self.penalty)
        explained = losses.explained_variance(predictions.detach(), targets, mask)
        return Outcome(loss, {"explained_variance": explained}, explained={"predictions": explained})
