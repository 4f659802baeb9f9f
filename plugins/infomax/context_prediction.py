"""Context prediction."""

from __future__ import annotations

import copy

import torch

from sensorium import Needs, Objective, Outcome, losses


class ContextPrediction(Objective):
    """Context prediction (Hu et al. 2020, section 3.1.1): match neighborhoods with their context graphs.

    The first view is a neighborhood, the second its context, which an encoder of its own reads. The loss is the binary
    discrimination of matching from non-matching pairs. Tokens of `View.info["anchors"]`, bool (B, T), are pooled, or
    all without it. Negatives are the contexts of all other records, the authors' those of one: the mean is equal.
    """

    needs = Needs(views=2, tokens=True, info="anchors")
    record_keys = ()

    def build(self, encoders):
        """Make the context encoder, a copy of the encoder."""
        self.context_encoder = torch.nn.ModuleDict({name: copy.deepcopy(encoder) for name, encoder in encoders.items()})

    def forward(self, views, encode):
        """Discriminate a record's context from those of others."""
        neighborhood, context = views
        (inner,) = encode([neighborhood])
        (outer,) = encode.using(self.context_encoder)([context])
        x_BD, y_BD = self.pooled(neighborhood, inner), self.pooled(context, outer)
        loss = losses.jensen_shannon(x_BD[:, None], y_BD)
        return Outcome(loss, features={"features": inner.pooled.detach()})

    def pooled(self, view, features):
        """Return the mean of the anchor tokens of a view, (B, D)."""
        if "anchors" not in view.info:
            return features.pooled
        weight_BT = view.info["anchors"].to(features.tokens.dtype)
        return torch.einsum("bt,btd->bd", weight_BT / weight_BT.sum(1, keepdim=True).clamp(min=1), features.tokens)
