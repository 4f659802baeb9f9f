"""VISReg."""

from __future__ import annotations

from sensorium import heads, losses
from sensorium.errors import check_range
from sensorium.plugins.predictive.global_views import GlobalViewPrediction


class VISReg(GlobalViewPrediction):
    """VISReg: variance-invariance-sketching regularization (Wu et al. 2026, algorithm 1).

    Views predict the mean of the global views, as in LeJEPA. Against collapse there are three terms: the std of each
    dimension (scale), its mean (center), and the order of records along random directions beside a Gaussian's quantiles
    (shape). The gradient of the scale does not vanish where features have collapsed. A step needs some 32 records or
    more: the quantiles of few have so small a std that the shape pulls them to one point.

    Args:
        regularization: lambda, the weight of the three, 0 to 1; .9 is for large data, .6 for small (auto: < 100,000).
        scale: weight of the scale term, >= 0.
        shape: weight of the shape term, >= 0; more for long-tailed data.
        center: weight of the center term, >= 0.
        global_views: number of global views, the first ones, which make the mean; local views follow.
        directions: number of random directions (slices), drawn anew at every step; the paper has 4,096.
        width: hidden width of the projection head.
        dim: output width of the projection head.
        layers: linear layers of the projection head.
    """

    remedy = "raise data.batch or objective.scale"
    auto = {"regularization": lambda size: 0.6 if size.records < 100_000 else 0.9}

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
        super().__init__(regularization, global_views)
        check_range("objective 'visreg'", "[0, 1]", regularization=regularization)
        check_range("objective 'visreg'", "[0, inf)", scale=scale, shape=shape, center=center)
        self.scale, self.shape, self.center = scale, shape, center
        self.directions, self.width, self.dim, self.layers = directions, width, dim, layers

    def build(self, encoders):
        """Make the projection head."""
        self.project = heads.prediction_head(encoders.single.dim, self.width, self.dim, self.layers)

    def regularize(self, z_BVD):
        """Compare the records of each view with a Gaussian: its scale, its shape and its center."""
        terms = losses.visreg(z_BVD, losses.random_directions(self.dim, self.directions, z_BVD.device))
        weighted = self.scale * terms.scale + self.shape * terms.shape + self.center * terms.center
        return weighted, {name: term.detach() for name, term in terms._asdict().items()}
