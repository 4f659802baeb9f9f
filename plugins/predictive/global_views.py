"""What LeJEPA and VISReg share: views predict the mean of the global views."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from sensorium import Needs, Objective, Outcome, losses


class GlobalViewPrediction(Objective):
    """Every view predicts the mean of the global views' projections; a regularizer keeps them from collapsing.

    The loss is (1 - lambda) x prediction + lambda x regularization: no teacher, no stop-gradient.

    Args:
        weight: lambda, 0 to 1.
        global_views: number of global views, the first ones.
    """

    needs = Needs(views=2, multicrop=True)
    record_keys = ()
    project: nn.Module

    def __init__(self, weight: float, global_views: int) -> None:
        super().__init__()
        self.weight, self.global_views = weight, global_views

    @abstractmethod
    def regularize(self, z_BVD: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the regularization of the projections of V views, and its parts, detached, to be logged."""

    def forward(self, views, encode):
        """Compare every view with the mean of the global ones, and regularize."""
        features = encode(views)
        z_BVD = self.project(torch.cat([f.pooled for f in features])).unflatten(0, (len(views), -1)).transpose(0, 1)
        prediction = losses.global_view_prediction(z_BVD, self.global_views)
        regularization, parts = self.regularize(z_BVD)
        loss = (1 - self.weight) * prediction + self.weight * regularization
        watched = {"features": features[0].pooled.detach(), "projection": z_BVD[:, 0].detach()}
        return Outcome(loss, {"prediction": prediction.detach(), **parts}, watched)
