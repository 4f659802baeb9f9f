"""LeJEPA."""

from __future__ import annotations

import torch

from sensorium import heads, losses
from sensorium.plugins.predictive.global_views import GlobalViewPrediction


class LeJEPA(GlobalViewPrediction):
    """LeJEPA: latent-Euclidean joint-embedding predictive architecture (Balestriero and LeCun 2025, algorithm 2).

    Every view predicts the mean of the global views' projections, and SIGReg, a test for an isotropic Gaussian along
    random directions, keeps features from collapsing: there is no teacher and no stop-gradient. The loss is
    (1 - lambda) x prediction + lambda x SIGReg.

    Args:
        sigreg_weight: lambda, the weight of SIGReg, 0 to 1.
        global_views: number of global views, the first ones, which make the mean; local views follow.
        directions: number of random directions (slices) of SIGReg, drawn anew at every step.
        width: hidden width of the projection head.
        dim: output width of the projection head.
        layers: linear layers of the projection head.
    """

    def __init__(
        self,
        sigreg_weight: float = 0.05,
        global_views: int = 2,
        directions: int = 256,
        width: int = 2048,
        dim: int = 128,
        layers: int = 3,
    ) -> None:
        super().__init__(sigreg_weight, global_views)
        self.directions, self.width, self.dim, self.layers = directions, width, dim, layers

    def build(self, encoders):
        """Make the projection head."""
        self.project = heads.prediction_head(encoders.single.dim, self.width, self.dim, self.layers)

    def regularize(self, z_BVD):
        """Compare the records of each view with a Gaussian."""
        directions_DS = losses.random_directions(self.dim, self.directions, z_BVD.device)
        sigreg = torch.stack([losses.sigreg(z_BD, directions_DS) for z_BD in z_BVD.unbind(1)]).mean()
        return sigreg, {"sigreg": sigreg.detach()}
