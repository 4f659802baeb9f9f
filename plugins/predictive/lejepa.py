"""LeJEPA."""

from __future__ import annotations

import torch

from sensorium import Needs, Objective, Outcome, heads, losses


class LeJEPA(Objective):
    """Every view is near the mean of the large ones, and each view's features are Gaussian (Balestriero, LeCun 2025).

    Algorithm 2: (1 - share) x prediction + share x SIGReg. No teacher and no stopped gradient: SIGReg, a test for an
    isotropic Gaussian along random directions, keeps features from collapsing. Large views are compared with the mean
    too.

    Args:
        share: lambda, the weight of SIGReg; prediction has the rest.
        large: how many views, the first ones, make the mean; small crops come after them.
        directions: how many random directions SIGReg looks along, new ones at every step.
        width: hidden width of the projection head.
        dim: width of the space in which views are compared.
        layers: linear maps of the projection head.
    """

    needs = Needs(views=2, multicrop=True)

    def __init__(
        self,
        share: float = 0.05,
        large: int = 2,
        directions: int = 256,
        width: int = 2048,
        dim: int = 128,
        layers: int = 3,
    ) -> None:
        super().__init__()
        self.share, self.large, self.directions = share, large, directions
        self.width, self.dim, self.layers = width, dim, layers

    def build(self, encoders):
        """Make the projection head."""
        self.project = heads.prediction_head(encoders.single.dim, self.width, self.dim, self.layers)

    def forward(self, views, encode):
        """Compare views with the mean of the large ones, and each with the Gaussian."""
        features = encode(views)
        z_BVD = self.project(torch.cat([f.pooled for f in features])).unflatten(0, (len(views), -1)).transpose(0, 1)
        center_B1D = z_BVD[:, : self.large].mean(1, keepdim=True)
        every_BV = torch.ones_like(z_BVD[..., 0], dtype=torch.bool)
        prediction = losses.masked_regression(z_BVD, center_B1D.expand_as(z_BVD), every_BV)
        directions_DS = losses.random_directions(self.dim, self.directions, z_BVD.device)
        gaussian = torch.stack([losses.sigreg(z_BD, directions_DS) for z_BD in z_BVD.unbind(1)]).mean()
        loss = (1 - self.share) * prediction + self.share * gaussian
        logs = {"prediction": prediction.detach(), "sigreg": gaussian.detach()}
        watched = {"features": features[0].pooled.detach(), "projection": z_BVD[:, 0].detach()}
        return Outcome(loss, logs, watched)
