"""Next-token prediction."""

from __future__ import annotations

import math

from torch import nn

from sensorium import Needs, Objective, Outcome, losses


class NextToken(Objective):
    """Next-token prediction (Bengio et al. 2003, eq. 1; Radford et al. 2018, eq. 1), of tokens of any kind.

    Cross-entropy of class ids, mean squared error of patches (AIM, El-Nouby et al. 2024, section 3.1). The encoder must
    be causal: a token attends to itself and those before it.
    """

    needs = Needs(views=1, tokens=True)
    record_keys = ()

    def build(self, encoders):
        """Make the head: the encoder's own, or else linear: logits of every class, or the values of a patch."""
        encoders.require_causal("next-token")
        head = nn.Linear(encoders.single.token_dim, encoders.single.target_dim, bias=False)
        nn.init.normal_(head.weight, std=0.02)
        self.head = encoders.single.token_classifier() or head

    def forward(self, views, encode):
        """Predict the token after each; the last token, and one before padding, has none."""
        predictions_BTV, targets_BT, mask_BT, features = self.predict(views, encode)
        loss = losses.reconstruction(predictions_BTV, targets_BT, mask_BT)
        logs = {}
        if not targets_BT.is_floating_point():
            logs = {"bits_per_token": loss.detach() / math.log(2), "perplexity": losses.perplexity(loss)}
        return Outcome(loss, logs, features={"features": features.pooled.detach()})

    def score(self, views, encode):
        """Return the negative log-likelihood of each record, and a uniform model's; None without classes."""
        logits_BTV, targets_BT, mask_BT, _ = self.predict(views, encode)
        if targets_BT.is_floating_point():
            return None
        tokens_B, nats_B = mask_BT.sum(1), losses.token_nats(logits_BTV, targets_BT, mask_BT).sum(1)
        return {"nats": nats_B, "tokens": tokens_B, "uniform": tokens_B * math.log(logits_BTV.shape[-1])}

    def predict(self, views, encode):
        """Return the predictions of next tokens, their targets, which of them count, and the features."""
        (view,) = views
        tokens, targets_BT = encode.tokenize(view), encode.token_targets(view)
        features = encode.encode_tokens(view, self.inputs(tokens))
        predictions_BTV = self.head(features.tokens[:, : targets_BT.shape[1] - 1])
        return predictions_BTV, targets_BT[:, 1:], tokens.valid()[:, 1:], features

    def inputs(self, tokens):
        """Return all tokens but the last, which has no target; a single one stays, as encoders need one."""
        return tokens.first(max(tokens.x.shape[1] - 1, 1))
