"""Supervised contrastive learning."""

from __future__ import annotations

import torch

from sensorium import Needs, Objective, Outcome, heads, losses


class SupervisedContrastive(Objective):
    """Supervised contrastive learning, SupCon (Khosla et al. 2020, eq. 2).

    Both views of all records with the same label are positives. A record without a label has its own two views as
    positives, and is a negative of all others: with few labels it is semi-supervised, with none it is SimCLR. The log
    "labeled" is the fraction of records with a label.

    Args:
        label: name of the label; "group" takes the records' groups instead.
        temperature: softmax temperature, > 0; the paper's is 0.1.
        width: hidden width of the projection head.
        dim: output width of the projection head.
        layers: linear layers of the projection head.
    """

    needs = Needs(views=2)
    remedy = "raise objective.temperature"

    def __init__(
        self, label: str = "group", temperature: float = 0.1, width: int = 2048, dim: int = 128, layers: int = 2
    ) -> None:
        super().__init__()
        self.key = label if label == "group" else f"label:{label}"
        self.record_keys = (self.key,)
        self.temperature, self.width, self.dim, self.layers = temperature, width, dim, layers

    def build(self, encoders):
        """Make the projection head."""
        self.project = heads.projection_head(encoders.single.dim, self.width, self.dim, self.layers)

    def forward(self, views, encode):
        """Contrast both views of all records."""
        record_B = views[0].key("record")
        labels_B = views[0].keys.get(self.key, record_B)  # a loop of one's own may have no labels
        f1, f2 = encode(views)
        z1_BD, z2_BD = self.project(f1.pooled), self.project(f2.pooled)
        loss = losses.supervised_contrastive(torch.cat([z1_BD, z2_BD]), labels_B.repeat(2), self.temperature)
        logs = {"labeled": (labels_B != record_B).float().mean()}
        return Outcome(loss, logs, {"features": f1.pooled.detach(), "projection": z1_BD.detach()})
