"""InfoGraph."""

from __future__ import annotations

from torch import Tensor, nn

from sensorium import Needs, Objective, Outcome, losses


class Forward(nn.Module):
    """Three linear maps with ReLU, and one around them (the discriminators of Sun et al. 2020, section 3.3)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        maps = [module for _ in range(3) for module in (nn.Linear(dim, dim), nn.ReLU())]
        self.block, self.around = nn.Sequential(*maps), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., D)."""
        return self.block(x) + self.around(x)


class InfoGraph(Objective):
    """Tell a record's tokens from those of other records by the whole (Sun et al. 2020, eq. 4).

    On pictures and signals it is the local form of Deep InfoMax (Hjelm et al. 2019, section 3.2). Any encoder that
    returns tokens serves, best one whose tokens are local, such as convolutions: where each token has seen the whole
    record, as in a transformer, it can be told by anything that marks the record.
    """

    needs = Needs(views=1)

    def build(self, encoders):
        """Make a network for tokens and one for records."""
        self.local, self.whole = Forward(encoders.single.token_dim), Forward(encoders.single.dim)

    def forward(self, views, encode):
        """Score every token with every record."""
        (features,) = encode(views)
        loss = losses.jensen_shannon(
            self.local(features.require_tokens("infograph")), self.whole(features.pooled), features.mask
        )
        return Outcome(loss, features={"features": features.pooled.detach()})
