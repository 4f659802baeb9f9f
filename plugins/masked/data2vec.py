"""data2vec."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from sensorium import Needs, Objective, Outcome, Teacher, cosine_schedule, losses
from sensorium.plugins.masked.masking import cover, hide, share


class Data2Vec(Objective):
    """A student that sees mask tokens guesses a teacher's features of what they hide (Baevski et al. 2022, eq. 2).

    Smooth L1 on hidden tokens only. The paper's targets are the mean of the teacher's top layers, each normalized; an
    encoder shows its last tokens alone, so here the targets are these, each token normalized.

    Args:
        ratio: share of each record's tokens that is hidden, unless its view says which are (`info["masked"]`).
        beta: where the loss turns from a square to a line; the paper has 2 for images and 4 for text.
        momentum: of the teacher at first; it rises to 1 by half a cosine.
    """

    needs = Needs(views=1, tokens=True, info="masked")
    remedy = "raise objective.momentum, so that the teacher moves more slowly"

    def __init__(self, ratio: float = 0.6, beta: float = 2.0, momentum: float = 0.996) -> None:
        super().__init__()
        self.ratio, self.beta, self.momentum = share(ratio, "data2vec"), beta, momentum

    def build(self, encoders):
        """Make the mask token, the head and the teacher."""
        dim = encoders.single.token_dim
        self.mask_token = nn.Parameter(torch.randn(dim) * 0.02)
        self.head = nn.Linear(dim, dim)
        self.teacher = Teacher(encoders)

    def forward(self, views, encode):
        """Hide tokens from the student, guess what the teacher makes of them."""
        (view,) = views
        tokens = encode.tokenize(view)
        hidden_BT = hide(view, tokens, self.ratio)
        features = encode.encode_tokens(view, cover(tokens, hidden_BT, self.mask_token))
        with torch.no_grad():
            (seen,) = encode.using(self.teacher.encoders)([view])
            targets_BTD = F.layer_norm(seen.tokens, seen.tokens.shape[-1:])
        guesses_BTD = self.head(features.tokens)
        loss = losses.masked_regression(guesses_BTD, targets_BTD, hidden_BT, "smooth-l1", self.beta)
        return Outcome(loss, features={"features": features.pooled.detach()})

    def after_step(self, progress):
        """Move the teacher."""
        self.teacher.update(cosine_schedule(self.momentum, 1.0, progress))
