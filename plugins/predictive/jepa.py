"""I-JEPA."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from sensorium import (
    Needs,
    Objective,
    Outcome,
    Teacher,
    TokenDecoder,
    TrainingSize,
    cosine_schedule,
    losses,
    masking,
    take_tokens,
    token_counts,
    token_indices,
)
from sensorium.errors import check_range


class JEPA(Objective):
    """I-JEPA: joint-embedding predictive architecture (Assran et al. 2023), on tokens of any kind.

    From the tokens of a context block a narrow transformer predicts an EMA teacher's features of target blocks, one
    block at a time; the teacher sees the whole record, and its features are normalized. Blocks are rectangles on an
    encoder's `grid`, else spans of tokens. The loss is smooth L1, as in the authors' code.

    Args:
        target_blocks: number of target blocks, >= 1.
        target_scale: fraction of the tokens that a target block covers, from and to.
        target_aspect_ratio: height over width of a target block, each relative to the grid's, from and to.
        context_scale: fraction of the tokens that the context covers before targets are removed, from and to.
        width: width of the predictor.
        depth: number of predictor blocks.
        heads: attention heads of the predictor; they divide `width`.
        momentum: of the EMA teacher at the start, in [0, 1); it rises to 1 along a half cosine.
        masks: number of contexts of each record, each with its own target blocks, that share one pass of the teacher,
            >= 1 (multi-mask training of data2vec 2.0, Baevski et al. 2023).
    """

    needs = Needs(views=1, tokens=True)
    record_keys = ()
    remedy = "raise objective.momentum, so that the teacher moves more slowly"
    auto = {"momentum": TrainingSize.momentum}

    def __init__(
        self,
        target_blocks: int = 4,
        target_scale: tuple[float, float] = (0.15, 0.2),
        target_aspect_ratio: tuple[float, float] = (0.75, 1.5),
        context_scale: tuple[float, float] = (0.85, 1.0),
        width: int = 192,
        depth: int = 4,
        heads: int = 4,
        momentum: float = 0.996,
        masks: int = 1,
    ) -> None:
        super().__init__()
        check_range("objective 'jepa'", "[1, inf)", masks=masks)
        self.target_blocks, self.target_scale, self.context_scale = target_blocks, target_scale, context_scale
        self.target_aspect_ratio, self.momentum, self.masks = target_aspect_ratio, momentum, masks
        self.width, self.depth, self.heads = width, depth, heads

    def build(self, encoders):
        """Make the predictor and the teacher."""
        dim = encoders.single.token_dim
        self.grid = encoders.single.grid
        self.predictor = TokenDecoder(dim, dim, self.width, self.depth, self.heads)
        self.teacher = Teacher(encoders)

    def forward(self, views, encode):
        """Encode the context, predict the teacher's features of the target blocks."""
        (view,) = views
        tokens = encode.tokenize(view).repeat(self.masks)
        valid_BHW = masking.valid_on_grid(tokens, self.grid)
        context_BT, targets_NBT = masking.context_and_targets(
            valid_BHW, self.target_blocks, self.context_scale, self.target_scale, self.target_aspect_ratio
        )
        choices = [(context_BT, ~valid_BHW.flatten(1)), *((block_BT, ~block_BT) for block_BT in targets_NBT)]
        count, *counts = token_counts(*choices)
        context_BK, _ = token_indices(*choices[0], count)
        features = encode.encode_tokens(view, tokens, context_BK)
        with torch.no_grad():
            (taught,) = encode.using(self.teacher.encoders)([view])
            targets_BTD = F.layer_norm(taught.tokens, taught.tokens.shape[-1:]).repeat(self.masks, 1, 1)
        blocks = [token_indices(*block, count) for block, count in zip(choices[1:], counts, strict=True)]
        predictions_BMD = torch.cat(
            [self.predictor(features, tokens.positions, context_BK, *block) for block in blocks], dim=1
        )
        index_BM, mask_BM = (torch.cat(parts, dim=1) for parts in zip(*blocks, strict=True))
        loss = losses.masked_regression(predictions_BMD, take_tokens(targets_BTD, index_BM), mask_BM, "smooth-l1")
        return Outcome(loss, features={"features": features.pooled[: len(view)].detach()})

    def after_step(self, progress):
        """Update the teacher."""
        self.teacher.update(cosine_schedule(self.momentum, 1.0, progress))
