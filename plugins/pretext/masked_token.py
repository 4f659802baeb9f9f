"""Masked token prediction."""

from __future__ import annotations

from torch import nn

from sensorium import Needs, Objective, Outcome, losses


class MaskedToken(Objective):
    """Masked language modeling, as in BERT (Devlin et al. 2019, section 3.1, task 1).

    Cross-entropy of the masked tokens. Which tokens are masked, and what replaces them, is the view generator's choice:
    its target "tokens" is int64 (B, T), class ids of masked tokens, -100 elsewhere. For tokens that are no classes
    (patches) take the objective 'simmim', which draws masks itself.
    """

    needs = Needs(views=1, tokens=True, target="tokens")
    record_keys = ()

    def build(self, encoders):
        """Make the head: the encoder's own, or else BERT's transform and a linear classifier."""
        dim, classes = encoders.single.token_dim, encoders.single.target_dim
        classifier = nn.Linear(dim, classes)
        nn.init.normal_(classifier.weight, std=0.02)
        head = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim), classifier)
        self.head = encoders.single.token_classifier() or head

    def forward(self, views, encode):
        """Classify the masked tokens."""
        (view,) = views
        (features,) = encode([view])
        loss = losses.token_cross_entropy(self.head(features.tokens), view.target, view.target != -100)
        logs = {"perplexity": losses.perplexity(loss)}
        return Outcome(loss, logs, features={"features": features.pooled.detach()})
