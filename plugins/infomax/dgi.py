"""DGI."""

from __future__ import annotations

from torch import nn

from sensorium import Needs, Objective, Outcome, losses


class DGI(Objective):
    """DGI: deep graph infomax (Velickovic et al. 2019, eq. 1).

    A bilinear discriminator separates nodes from corrupted ones, given a summary of all nodes. Records are the nodes of
    one large graph, each with its neighborhood; the summary is that of the batch, as where graphs are sampled (section
    4.2). The second view is the corruption, with the target "real", 0.
    """

    needs = Needs(views=2, target="real")
    record_keys = ()

    def build(self, encoders):
        """Make the bilinear map of the discriminator."""
        self.bilinear = nn.Linear(encoders.single.dim, encoders.single.dim, bias=False)

    def forward(self, views, encode):
        """Discriminate real from corrupted records by the summary."""
        real, corrupted = encode(views)
        summary_D = self.bilinear(losses.dgi_summary(real.pooled).to(real.pooled.dtype))
        logits = [features.pooled @ summary_D for features in (real, corrupted)]
        return Outcome(losses.binary_discrimination(*logits), features={"features": real.pooled.detach()})
