"""JEPA."""

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
    take_tokens,
    token_indices,
)
from sensorium.plugins.predictive.blocks import draw_context_and_targets, on_grid


class JEPA(Objective):
    """From a context's tokens, guess a teacher's features of the blocks cut out of it (I-JEPA, Assran et al. 2023).

    Blocks are rectangles on an encoder's `grid`, else runs of tokens. The teacher sees the whole record; its tokens,
    each normalized, are guessed by a narrow transformer, block by block. Smooth L1, as in the authors' code.

    Args:
        blocks: how many blocks are guessed.
        target: share of the tokens that a block covers, from and to.
        aspect: of a block, from and to, height over width, both as shares of the grid's.
        context: share of the tokens that the context covers before the blocks are cut out, from and to.
        width: width of the predictor's tokens.
        depth: blocks of the predictor.
        heads: attention heads of the predictor; they divide `width`.
        momentum: of the teacher at first; it rises to 1 by half a cosine.
    """

    needs = Needs(views=1, tokens=True)
    remedy = "raise objective.momentum, so that the teacher moves more slowly"
    auto = {"momentum": TrainingSize.momentum}

    def __init__(
        self,
        blocks: int = 4,
        target: tuple[float, float] = (0.15, 0.2),
        aspect: tuple[float, float] = (0.75, 1.5),
        context: tuple[float, float] = (0.85, 1.0),
        width: int = 192,
        depth: int = 4,
        heads: int = 4,
        momentum: float = 0.996,
    ) -> None:
        super().__init__()
        self.blocks, self.target, self.aspect, self.context = blocks, target, aspect, context
        self.width, self.depth, self.heads, self.momentum = width, depth, heads, momentum

    def build(self, encoders):
        """Make the predictor and the teacher."""
        dim = encoders.single.token_dim
        self.grid = encoders.single.grid
        self.predictor = TokenDecoder(dim, dim, self.width, self.depth, self.heads)
        self.teacher = Teacher(encoders)

    def forward(self, views, encode):
        """Encode the context, guess what the teacher makes of the blocks."""
        (view,) = views
        tokens = encode.tokenize(view)
        real_BHW = on_grid(tokens, self.grid)
        shares = self.context, self.target, self.aspect
        context_BT, targets_NBT = draw_context_and_targets(real_BHW, self.blocks, *shares)
        shown_BK, _ = token_indices(context_BT, ~real_BHW.flatten(1))
        features = encode.encode_tokens(view, tokens, shown_BK)
        with torch.no_grad():
            (seen,) = encode.using(self.teacher.encoders)([view])
            answers_BTD = F.layer_norm(seen.tokens, seen.tokens.shape[-1:])
        asked = [token_indices(block_BT, ~block_BT) for block_BT in targets_NBT]
        guesses_BMD = torch.cat([self.predictor(features, tokens.positions, shown_BK, *each) for each in asked], dim=1)
        wanted_BM, mask_BM = (torch.cat(parts, dim=1) for parts in zip(*asked, strict=True))
        loss = losses.masked_regression(guesses_BMD, take_tokens(answers_BTD, wanted_BM), mask_BM, "smooth-l1")
        return Outcome(loss, features={"features": features.pooled.detach()})

    def after_step(self, progress):
        """Move the teacher."""
        self.teacher.update(cosine_schedule(self.momentum, 1.0, progress))
