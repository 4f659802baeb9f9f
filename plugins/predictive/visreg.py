"""VISReg."""

from __future__ import annotations

import torch

from sensorium import Needs, Objective, Outcome, TrainingSize, heads, losses
from sensorium.errors import check_range

SMALL = 100_000
"""Fewer records than these are a small data set, for which the authors advise a lower weight of regularization."""


def _regularization(size: TrainingSize) -> float:
    return 0.6 if size.records < SMALL else 0.9


class VISReg(Objective):
    """VISReg: variance-invariance-sketching regularization (Wu et al. 2026, algorithm 1).

    Every view predicts the mean of the global views' projections, as in LeJEPA; what keeps features from collapsing is
    in three parts with gradients of their own: the std of each dimension (scale), its mean (center), and the
    distribution along random directions, sorted and compared with the Gaussian's quantiles (shape). The gradient of the
    scale does not vanish where features have collapsed. The loss is (1 - lambda) x prediction + lambda x (the weighted
    sum of the three).

    Args:
        regularization: lambda, the weight of regularization, 0 to 1; .9 for large data sets, .6 for small ones (auto:
            of fewer than 100,000 records).
        scale: weight of the scale term, >= 0.
        shape: weight of the shape term, >= 0; more for long-tailed data.
        center: weight of the center term, >= 0.
        global_views: number of global views, the first ones, which make the mean; local views follow.
        directions: number of random directions (slices), drawn anew at every step; the paper has 4,096.
        width: hidden width of the projection head.
        dim: output width of the projection head.
        layers: linear layers of the projection head.
    """

    needs = Needs(views=2, multicrop=True)
    remedy = "raise objective.regularization"
    auto = {"regularization": _regularization}

    def __init__(
        self,
        regularization: float = 0.9,
        scale: float = 1.0,
        shape: float = 1.0,
        center: float = 1.0,
        global_views: int = 2,
        directions: int = 1024,
        width: int = 2048,
        dim: int = 256,
        layers: int = 3,
    ) -> None:
        super().__init__()
        check_range("objective 'visreg'", "[0, 1]", regularization=regularization)
        check_range("objective 'visreg'", "[0, inf)", scale=scale, shape=shape, center=center)
        self.regularization, self.scale, self.shape, self.center = regularization, scale, shape, center
        self.global_views, self.directions = global_views, directions
        self.width, self.dim, self.layers = width, dim, layers

    def build(self, encoders):
        """Make the projection head."""
        self.project = heads.bottleneck_head(encoders.single.dim, self.width, self.dim, self.layers, batch_norm=True)

    def forward(self, views, encode):
        """Compare every view with the mean of the global ones, and the records of each with a Gaussian."""
        features = encode(views)
        z_BVD = self.project(torch.cat([f.pooled for f in features])).unflatten(0, (len(views), -1)).transpose(0, 1)
        directions_DS = losses.random_directions(self.dim, self.directions, z_BVD.device)
        terms = losses.visreg(z_BVD, directions_DS, self.global_views)
        regularization = self.scale * terms.scale + self.shape * terms.shape + self.center * terms.center
        loss = (1 - self.regularization) * terms.prediction + self.regularization * regularization
        logs = {name: term.detach() for name, term in terms._asdict().items()}
        watched = {"features": features[0].pooled.detach(), "projection": z_BVD[:, 0].detach()}
        return Outcome(loss, logs, watched)
