"""data2vec."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from sensorium import Needs, Objective, Outcome, Teacher, cosine_schedule, losses, masking
from sensorium.errors import check_range


class Data2Vec(Objective):
    """data2vec (Baevski et al. 2022): predict an EMA teacher's features of masked tokens.

    The student sees mask tokens, the teacher the whole record; the loss is smooth L1 over masked tokens (eq. 2).
    Targets are the teacher's last tokens, each normalized; the paper's are the mean of its top layers, which encoders
    here do not return.

    Args:
        mask_ratio: fraction of each record's tokens that is masked, in (0, 1); the mask of a view comes first.
        beta: error at which smooth L1 turns from a square to a line, > 0; the paper has 2 for images and 4 for text.
        momentum: of the EMA teacher at the start, in [0, 1); it rises to 1 along a half cosine.
    """

    needs = Needs(views=1, tokens=True, info="masked")
    remedy = "raise objective.momentum, so that the teacher moves more slowly"

    def __init__(self, mask_ratio: float = 0.6, beta: float = 2.0, momentum: float = 0.996) -> None:
        super().__init__()
        check_range("objective 'data2vec'", "(0, 1)", mask_ratio=mask_ratio)
        self.mask_ratio, self.beta, self.momentum = mask_ratio, beta, momentum

    def build(self, encoders):
        """Make the mask token, the head and the teacher."""
        dim = encoders.single.token_dim
        self.mask_token = masking.mask_token(encoders.single, torch.randn(dim) * 0.02)
        self.head = nn.Linear(dim, dim)
        self.teacher = Teacher(encoders)

    def forward(self, views, encode):
        """Predict the teacher's features of the tokens that are masked for the student."""
        (view,) = views
        tokens = encode.tokenize(view)
        masked_BT = masking.random_mask(view, tokens, self.mask_ratio)
        features = encode.encode_tokens(view, masking.replace_masked(tokens, masked_BT, self.mask_token))
        with torch.no_grad():
            (taught,) = encode.using(self.teacher.encoders)([view])
            targets_BTD = F.layer_norm(taught.tokens, taught.tokens.shape[-1:])
        predictions_BTD = self.head(features.tokens)
        loss = losses.masked_regression(predictions_BTD, targets_BTD, masked_BT, "smooth-l1", self.beta)
        return Outcome(loss, features={"features": features.pooled.detach()})

    def after_step(self, progress):
        """Update the teacher."""
        self.teacher.update(cosine_schedule(self.momentum, 1.0, progress))
