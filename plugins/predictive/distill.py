"""Distillation: regression on the features of a frozen teacher.

Letters: B records, T tokens, K tokens of a sample, P width of a target, D width, H and W rows and columns of tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from sensorium import Needs, take_tokens
from sensorium.errors import RecipeError
from sensorium.plugins.predictive.regress import Regress

TOKENS_OF_RECORD = 4
"""Tokens of each record that statistics are learned from."""


class Distill(Regress):
    """Regression on the pooled features of a frozen teacher."""

    needs = Needs(teacher=True)

    def build(self, encoders):
        """Make the head, and what standardizes targets."""
        (self.modality,), self.teachers = encoders, encoders.teachers
        super().build(encoders)

    @property
    def teacher(self):
        """The frozen teacher."""
        return self.teachers[self.modality]

    def widths(self, encoders):
        """Return the widths of features of encoder and teacher."""
        return encoders.single.dim, self.teacher.dim

    def targets(self, view, encode):
        """Return the teacher's features."""
        (taught,) = encode.using(self.teachers)([view])
        return taught.pooled


class DistillTokens(Distill):
    """Regression on the tokens of a frozen teacher."""

    def build(self, encoders):
        """Make the head, and what standardizes targets."""
        super().build(encoders)
        self.grids = encoders.single.grid, self.teacher.grid

    def widths(self, encoders):
        """Return the widths of tokens of encoder and teacher."""
        return encoders.single.token_dim, self.teacher.token_dim

    def rows(self, targets):
        """Return a few tokens of each record, drawn at random."""
        valid_BT = targets[..., 0].isfinite()
        draws_BT = torch.rand(valid_BT.shape, device=valid_BT.device).masked_fill(~valid_BT, 2.0)
        return take_tokens(targets, draws_BT.argsort(1)[:, :TOKENS_OF_RECORD]).flatten(0, 1)

    def targets(self, view, encode):
        """Return the teacher's tokens, nan at padding."""
        (taught,) = encode.using(self.teachers)([view])
        return taught.require_tokens("regress").masked_fill(~taught.valid()[..., None], torch.nan)

    def predict(self, features, targets):
        """Predict the teacher's tokens from the encoder's, at the same places."""
        x_BTD, count = features.require_tokens("regress"), targets.shape[1]
        if x_BTD.shape[1] == count:
            return self.head(x_BTD)
        own, theirs = self.grids
        if own is None or theirs is None or (own[0] * own[1], theirs[0] * theirs[1]) != (x_BTD.shape[1], count):
            raise RecipeError(
                f"The encoder makes {x_BTD.shape[1]} tokens of a record, its frozen teacher {count}, and only tokens "
                "on grids are resized: choose an encoder with tokens at the same places, or objective.targets=teacher."
            )
        map_BDHW = x_BTD.transpose(1, 2).unflatten(2, own)
        resized_BDHW = F.interpolate(map_BDHW, theirs, mode="bilinear", antialias=True)
        return self.head(resized_BDHW.flatten(2).transpose(1, 2))
