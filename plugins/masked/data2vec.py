"""data2vec."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from sensorium import Needs, Objective, Outcome, Teacher, TokenDecoder, cosine_schedule, losses, masking, take_tokens
from sensorium.errors import check_range


class Data2Vec(Objective):
    """data2vec (Baevski et al. 2022): predict an EMA teacher's features of masked tokens.

    The student sees mask tokens, the teacher the whole record; the loss is smooth L1 over masked tokens (eq. 2).
    Targets are the teacher's last tokens, each normalized; the paper's are the mean of its top layers, which encoders
    here do not return.

    data2vec 2.0 (Baevski et al. 2023) saves most of its computation: several masked copies of each record share one
    pass of the teacher (`masks`), and the student encodes visible tokens alone (`visible_only`). Its decoder is a light
    transformer here, which serves tokens of any kind, in place of convolutions.

    Args:
        mask_ratio: fraction of each record's tokens that is masked, in (0, 1); the mask of a view comes first. The
            papers have 0.6, and 0.8 where visible tokens alone are encoded.
        beta: error at which smooth L1 turns from a square to a line, > 0; the paper has 2 for images and 4 for text.
        momentum: of the EMA teacher at the start, in [0, 1); it rises to 1 along a half cosine.
        masks: number of masked copies of each record, each with a mask of its own, that share one pass of the teacher,
            >= 1; data2vec 2.0 has 8 to 16. The loss is a mean over copies, so the learning rate goes with records.
        visible_only: the student encodes the visible tokens alone, and a light decoder predicts the masked ones.
        width: width of that decoder.
        depth: number of its blocks.
        heads: its attention heads; they divide `width`.
    """

    needs = Needs(views=1, tokens=True, info="masked")
    record_keys = ()
    remedy = "raise objective.momentum, so that the teacher moves more slowly"

    def __init__(
        self,
        mask_ratio: float = 0.6,
        beta: float = 2.0,
        momentum: float = 0.996,
        masks: int = 1,
        visible_only: bool = False,
        width: int = 256,
        depth: int = 2,
        heads: int = 4,
    ) -> None:
        super().__init__()
        check_range("objective 'data2vec'", "(0, 1)", mask_ratio=mask_ratio)
        check_range("objective 'data2vec'", "[1, inf)", masks=masks)
        self.mask_ratio, self.beta, self.momentum, self.masks = mask_ratio, beta, momentum, masks
        self.visible_only, self.width, self.depth, self.heads = visible_only, width, depth, heads

    def build(self, encoders):
        """Make the teacher, and what predicts its features: a mask token and a head, or a decoder."""
        dim = encoders.single.token_dim
        if self.visible_only:
            self.decoder = TokenDecoder(dim, dim, self.width, self.depth, self.heads)
        else:
            self.mask_token = masking.mask_token(encoders.single, torch.randn(dim) * 0.02)
            self.head = nn.Linear(dim, dim)
        self.teacher = Teacher(encoders)

    def forward(self, views, encode):
        """Predict the teacher's features of the tokens that are masked for the student."""
        (view,) = views
        tokens = encode.tokenize(view).repeat(self.masks)
        masked_BT = masking.random_mask(view, tokens, self.mask_ratio)
        if self.visible_only:
            visible_BK, masked_BM, mask_BM = masking.split_masked(view, tokens, self.mask_ratio, masked_BT)
            features = encode.encode_tokens(view, tokens, visible_BK)
            predictions_BMD = self.decoder(features, tokens.positions, visible_BK, masked_BM, mask_BM)
        else:
            features = encode.encode_tokens(view, masking.replace_masked(tokens, masked_BT, self.mask_token))
            predictions_BMD, mask_BM = self.head(features.tokens), masked_BT
        with torch.no_grad():
            (taught,) = encode.using(self.teacher.encoders)([view])
            targets_BMD = F.layer_norm(taught.tokens, taught.tokens.shape[-1:]).repeat(self.masks, 1, 1)
            if self.visible_only:
                targets_BMD = take_tokens(targets_BMD, masked_BM)
        loss = losses.masked_regression(predictions_BMD, targets_BMD, mask_BM, "smooth-l1", self.beta)
        return Outcome(loss, features={"features": features.pooled[: len(view)].detach()})

    def after_step(self, progress):
        """Update the teacher."""
        self.teacher.update(cosine_schedule(self.momentum, 1.0, progress))
