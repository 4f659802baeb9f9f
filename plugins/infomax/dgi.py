"""DGI."""

from __future__ import annotations

from torch import nn

from sensorium import Needs, Objective, Outcome, losses


class DGI(Objective):
    """Tell records from corrupted ones by a summary of all that are real (Velickovic et al. 2019, eq. 1).

    Records are the nodes of one large graph, each with its neighborhood: the summary is that of the batch, as where
    graphs are sampled (section 4.2). The second view is the corruption, and carries the target "real", 0.
    """

    needs = Needs(views=2, target="real")

    def build(self, encoders):
        """Make the bilinear map of the discriminator."""
        self.weigh = nn.Linear(encoders.single.dim, encoders.single.dim, bias=False)

    def forward(self, views, encode):
        """Score real and corrupted records against the summary."""
        real, corrupted = encode(views)
        toward_D = self.weigh(losses.dgi_summary(real.pooled).to(real.pooled.dtype))
        scores = [features.pooled @ toward_D for features in (real, corrupted)]
        return Outcome(losses.binary_discrimination(*scores), features={"features": real.pooled.detach()})
