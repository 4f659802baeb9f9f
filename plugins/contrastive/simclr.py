"""SimCLR."""

from __future__ import annotations

import torch

from sensorium import Needs, NegativeOptions, NegativePool, Objective, Outcome, heads, losses


class SimCLR(Objective):
    """SimCLR: a simple framework for contrastive learning (Chen et al. 2020, eq. 1).

    NT-Xent: the two views of a record are each other's positives, both views of all other records of the joined batch
    are negatives. With options of `negatives` it is debiased, hard (HCL) or decoupled contrastive learning.

    Args:
        temperature: softmax temperature, > 0; 0.1 to 0.5 is usual.
        width: hidden width of the projection head.
        dim: output width of the projection head.
        layers: linear layers of the projection head.
        negatives: options of negatives: hard-negative weights, memory bank, false negatives; default in-batch.
    """

    needs = Needs(views=2)
    remedy = "raise objective.temperature"

    def __init__(
        self,
        temperature: float = 0.2,
        width: int = 2048,
        dim: int = 128,
        layers: int = 2,
        negatives: NegativeOptions | None = None,
    ) -> None:
        super().__init__()
        self.temperature, self.width, self.dim, self.layers = temperature, width, dim, layers
        self.negative_options, self.record_keys = negatives, () if negatives is None else negatives.record_keys

    def build(self, encoders):
        """Make the projection head and the pool of negatives."""
        self.project = heads.projection_head(encoders.single.dim, self.width, self.dim, self.layers)
        self.negatives = NegativePool(self.negative_options, encoders, self.dim)

    def forward(self, views, encode):
        """Contrast the two views, then push the first to the memory, where there is one."""
        f1, f2 = encode(views)
        z1_BD, z2_BD = self.project(f1.pooled), self.project(f2.pooled)
        name, keys = views[0].modality, views[0].keys
        pool, ids_B = self.negatives, self.negatives.ids(keys)
        anchors = torch.cat([z1_BD, z2_BD]), None if ids_B is None else ids_B.repeat(2)
        guide, extra_negatives = pool.guide({name: f1.pooled.detach()}), pool.extra_negatives(name, *anchors)
        loss = self.contrast(
            z1_BD, z2_BD, groups_B=ids_B, guide=guide, extra_negatives=extra_negatives, **pool.weights()
        )
        if self.training:
            pool.push(name, z1_BD, keys)
        return Outcome(loss, pool.logs(), {"features": f1.pooled.detach(), "projection": z1_BD.detach()})

    def contrast(self, z1_BD, z2_BD, **negatives):
        """Return the loss between the projections of two views."""
        return losses.hcl(z1_BD, z2_BD, self.temperature, **negatives)

    def after_step(self, progress):
        """Follow the schedule of the negatives."""
        self.negatives.after_step(progress)
