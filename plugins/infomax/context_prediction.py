"""Context prediction."""

from __future__ import annotations

import copy

import torch

from sensorium import Needs, Objective, Outcome, losses


class ContextPrediction(Objective):
    """Tell what surrounds a record from what surrounds another one (Hu et al. 2020, section 3.1.1).

    The first view is what lies near a place, the second what lies around that; an encoder of its own reads the second.
    A view's `info["anchors"]`, bool (B, T), says which tokens stand for it, else all of the record does. Wrong are the
    surroundings of all other records, where the authors take those of one of them: the mean is the same.
    """

    needs = Needs(views=2, tokens=True, info="anchors")

    def build(self, encoders):
        """Make the encoder of surroundings, another one of the same kind."""
        self.around = torch.nn.ModuleDict({name: copy.deepcopy(encoder) for name, encoder in encoders.items()})

    def forward(self, views, encode):
        """Score records with their own and with wrong surroundings."""
        near, around = views
        (inner,) = encode([near])
        (outer,) = encode.using(self.around)([around])
        x_BD, y_BD = self.anchored(near, inner), self.anchored(around, outer)
        loss = losses.jensen_shannon(x_BD[:, None], y_BD)
        return Outcome(loss, features={"features": inner.pooled.detach()})

    def anchored(self, view, features):
        """Return the mean of the tokens that stand for a view, (B, D)."""
        if "anchors" not in view.info:
            return features.pooled
        share_BT = view.info["anchors"].to(features.tokens.dtype)
        return torch.einsum("bt,btd->bd", share_BT / share_BT.sum(1, keepdim=True).clamp(min=1), features.tokens)
