"""InfoGraph."""

from __future__ import annotations

from torch import Tensor, nn

from sensorium import Needs, Objective, Outcome, losses


class Discriminator(nn.Module):
    """Three linear layers with ReLU, and a linear shortcut (Sun et al. 2020, section 3.3)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        maps = [module for _ in range(3) for module in (nn.Linear(dim, dim), nn.ReLU())]
        self.block, self.shortcut = nn.Sequential(*maps), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., D)."""
        return self.block(x) + self.shortcut(x)


class InfoGraph(Objective):
    """InfoGraph (Sun et al. 2020, eq. 4): mutual information between a record's tokens and the record.

    A discriminator matches tokens (nodes) with the pooled features of their own record; those of other records of the
    batch are negatives. On images and signals it is local Deep InfoMax (Hjelm et al. 2019, section 3.2). Encoders with
    local tokens serve best, such as convolutions: a transformer's tokens have seen the whole record.
    """

    needs = Needs(views=1)
    record_keys = ()

    def build(self, encoders):
        """Make a discriminator network for tokens and one for records."""
        self.local, self.pooled = Discriminator(encoders.single.token_dim), Discriminator(encoders.single.dim)

    def forward(self, views, encode):
        """Match every token with every record."""
        (features,) = encode(views)
        loss = losses.jensen_shannon(
            self.local(features.require_tokens("infograph")), self.pooled(features.pooled), features.mask
        )
        return Outcome(loss, features={"features": features.pooled.detach()})
