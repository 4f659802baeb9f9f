"""SwAV."""

from __future__ import annotations

import torch

from sensorium import Assignments, Needs, Objective, Outcome, heads, losses


class SwAV(Objective):
    """Predict a view's code, its share in balanced clusters, from every other view (Caron et al. 2020, eq. 1 to 3).

    Args:
        prototypes: number of clusters; more than there are classes, fewer than records in the joined batch.
        large: how many views, the first ones, are given codes; small crops come after them and only predict.
        temperature: what the predicting scores are divided by.
        epsilon: what the codes' scores are divided by; the smaller, the sharper the codes.
        iterations: of the Sinkhorn-Knopp algorithm.
        freeze: share of the training in which the prototypes stay as they are.
        width: hidden width of the projection head.
        dim: width of the space of the prototypes.
    """

    needs = Needs(views=2, multicrop=True)
    remedy = "lower objective.epsilon"
    auto = {"prototypes": lambda scale: min(scale.power_of_two(1 / 8, 16, 4096), max(scale.batch // 2, 2))}

    def __init__(
        self,
        prototypes: int = 128,
        large: int = 2,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        iterations: int = 3,
        freeze: float = 0.01,
        width: int = 2048,
        dim: int = 128,
    ) -> None:
        super().__init__()
        self.count, self.large, self.temperature, self.epsilon = prototypes, large, temperature, epsilon
        self.iterations, self.freeze, self.width, self.dim = iterations, freeze, width, dim
        self.register_buffer("progress", torch.zeros(()))

    def build(self, encoders):
        """Make the projection head and the prototypes."""
        self.project = heads.prediction_head(encoders.single.dim, self.width, self.dim)
        self.prototypes = heads.Prototypes(self.dim, self.count)

    def forward(self, views, encode):
        """Predict the codes of the large views."""
        features = encode(views)
        learn = self.progress >= self.freeze
        projected = [self.project(f.pooled) for f in features]
        scores = [self.prototypes(z_BD, learn) for z_BD in projected]
        codes = [losses.sinkhorn_knopp(s_BK, self.epsilon, self.iterations) for s_BK in scores[: self.large]]
        loss = losses.swapped_cross_entropy(scores, codes, self.temperature)
        codes_NK = torch.cat(codes)
        codes = Assignments(losses.entropy(codes_NK.mean(0, keepdim=True)).exp(), losses.entropy(codes_NK))
        logs = {"code_entropy": codes.entropy, "codes_used": codes.used}
        watched = {"features": features[0].pooled.detach(), "projection": projected[0].detach()}
        return Outcome(loss, logs, watched, {"codes": codes})

    def after_step(self, progress):
        """Remember how far the training is."""
        self.progress.fill_(progress)
