"""Masked tokens."""

from __future__ import annotations

from torch import nn

from sensorium import Needs, Objective, Outcome, losses


class MaskedToken(Objective):
    """Cross-entropy of the tokens that a view hides (BERT, Devlin et al. 2019, section 3.1, task 1).

    Which tokens are hidden, and behind what, is the view generator's choice: its target "tokens" is int64 (B, T), the
    class ids of hidden tokens and -100 elsewhere. Tokens that are no classes (patches) are hidden and restored by the
    objective 'simmim', which leaves the hiding to no view.
    """

    needs = Needs(views=1, tokens=True, target="tokens")

    def build(self, encoders):
        """Make the head: BERT's transform, then a linear map that scores every class."""
        dim, classes = encoders.single.token_dim, encoders.single.target_dim
        scores = nn.Linear(dim, classes)
        nn.init.normal_(scores.weight, std=0.02)
        self.head = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim), scores)

    def forward(self, views, encode):
        """Score the classes of hidden tokens."""
        (view,) = views
        (features,) = encode([view])
        loss = losses.token_cross_entropy(self.head(features.tokens), view.target, view.target != -100)
        logs = {"perplexity": losses.perplexity(loss)}
        return Outcome(loss, logs, features={"features": features.pooled.detach()})
