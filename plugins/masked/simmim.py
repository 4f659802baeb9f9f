"""SimMIM."""

from __future__ import annotations

import torch
from torch import nn

from sensorium import Needs, Objective, Outcome, losses
from sensorium.plugins.masked.masking import cover, hide, share


class SimMIM(Objective):
    """Mask tokens stand in for hidden tokens, and a linear head reconstructs what they hide (Xie et al. 2022).

    The whole sequence is encoded. The loss is on hidden tokens only: the mean size of the difference from targets that
    are floats (eq. 1), cross-entropy against class ids.

    Args:
        ratio: share of each record's tokens that is hidden, unless its view says which are (`info["masked"]`).
    """

    needs = Needs(views=1, tokens=True, info="masked")

    def __init__(self, ratio: float = 0.6) -> None:
        super().__init__()
        self.ratio = share(ratio, "simmim")

    def build(self, encoders):
        """Make the mask token and the head."""
        dim, out = encoders.single.token_dim, encoders.single.target_dim
        self.mask_token = nn.Parameter(torch.randn(dim) * 0.02)
        self.head = nn.Linear(dim, out)

    def forward(self, views, encode):
        """Hide tokens, encode all, reconstruct the hidden ones."""
        (view,) = views
        tokens = encode.tokenize(view)
        hidden_BT = hide(view, tokens, self.ratio)
        features = encode.encode_tokens(view, cover(tokens, hidden_BT, self.mask_token))
        loss = losses.reconstruction(self.head(features.tokens), encode.token_targets(view), hidden_BT, "l1")
        return Outcome(loss, features={"features": features.pooled.detach()})
