"""SwAV."""

from __future__ import annotations

import torch

from sensorium import Assignments, Needs, Objective, Outcome, heads, losses


class SwAV(Objective):
    """SwAV: swapping assignments between views (Caron et al. 2020, eq. 1 to 3).

    The global views are assigned to prototypes, softly and evenly over the batch, by Sinkhorn-Knopp; these assignments
    (codes) are predicted from every other view, global and local, by cross-entropy.

    Args:
        prototypes: number of prototypes; more than there are classes, fewer than records in the joined batch.
        global_views: number of global views, the first ones, which get codes; local views follow and only predict.
        temperature: softmax temperature of predictions, > 0.
        epsilon: temperature of the codes (entropy regularization), > 0; the smaller, the sharper.
        iterations: iterations of Sinkhorn-Knopp, >= 1.
        freeze_prototypes: fraction of the training in which the prototypes are frozen, 0 to 1.
        width: hidden width of the projection head.
        dim: output width of the projection head, and width of the prototypes.
    """

    needs = Needs(views=2, multicrop=True)
    record_keys = ()
    remedy = "lower objective.epsilon"
    auto = {"prototypes": lambda scale: min(scale.power_of_two(1 / 8, 16, 4096), max(scale.batch // 2, 2))}

    def __init__(
        self,
        prototypes: int = 128,
        global_views: int = 2,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        iterations: int = 3,
        freeze_prototypes: float = 0.01,
        width: int = 2048,
        dim: int = 128,
    ) -> None:
        super().__init__()
        self.count, self.global_views, self.temperature, self.epsilon = prototypes, global_views, temperature, epsilon
        self.iterations, self.freeze_prototypes, self.width, self.dim = iterations, freeze_prototypes, width, dim
        self.register_buffer("progress", torch.zeros(()))

    def build(self, encoders):
        """Make the projection head and the prototypes."""
        self.project = heads.prediction_head(encoders.single.dim, self.width, self.dim)
        self.prototypes = heads.Prototypes(self.dim, self.count)

    def forward(self, views, encode):
        """Predict the codes of the global views from all views."""
        features = encode(views)
        learn = self.progress >= self.freeze_prototypes
        projected = [self.project(f.pooled) for f in features]
        logits = [self.prototypes(z_BD, learn) for z_BD in projected]
        codes = [losses.sinkhorn_knopp(x_BK, self.epsilon, self.iterations) for x_BK in logits[: self.global_views]]
        loss = losses.swapped_cross_entropy(logits, codes, self.temperature)
        codes_NK = torch.cat(codes)
        codes = Assignments(losses.entropy(codes_NK.mean(0, keepdim=True)).exp(), losses.entropy(codes_NK))
        logs = {"code_entropy": codes.entropy, "codes_used": codes.used}
        watched = {"features": features[0].pooled.detach(), "projection": projected[0].detach()}
        return Outcome(loss, logs, watched, {"codes": codes})

    def after_step(self, progress):
        """Store the progress, on which the freezing of prototypes depends."""
        self.progress.fill_(progress)
