"""Blocks of tokens: what is shown, and what is to be guessed.

Tokens lie on a grid, row by row; a sequence is a grid of one row. Letters: B records, N blocks, H and W height and
width of the grid, T = H x W tokens.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sensorium import Tokens
from sensorium.errors import RecipeError

Range = tuple[float, float]


def on_grid(tokens: Tokens, grid: tuple[int, int] | None) -> Tensor:
    """Return which tokens are no padding, bool (B, H, W), on the encoder's grid; without one they are a sequence.

    Raises:
        RecipeError: when the tokens do not fill the grid.
    """
    b, t, _ = tokens.x.shape
    h, w = grid or (1, t)
    if h * w != t:
        raise RecipeError(
            f"The objective 'jepa' draws blocks on the encoder's grid of {h}x{w}, but its views have {t} tokens: "
            "choose views of the size that the encoder is made for."
        )
    return tokens.valid().view(b, h, w)


def draw_block(real_BHW: Tensor, share: Range, aspect: Range) -> Tensor:
    """Draw one rectangle of tokens for each record, within the part of the grid where its tokens are real.

    Args:
        real_BHW: bool, which tokens are no padding.
        share: of that part that the rectangle covers, drawn between the two.
        aspect: height over width, measured in heights and widths of that part, drawn between the two.

    Returns:
        bool (B, H, W), at least one token in each record that has any.
    """
    down_BH, across_BW = real_BHW.any(2), real_BHW.any(1)
    h_B1, w_B1 = down_BH.sum(1, keepdim=True), across_BW.sum(1, keepdim=True)
    share_B1, aspect_B1 = _uniform(h_B1, *share), _uniform(h_B1, *aspect)
    high_B1 = (h_B1 * (share_B1 * aspect_B1).sqrt()).round().clamp(min=1).minimum(h_B1)
    wide_B1 = (share_B1 * h_B1 * w_B1 / high_B1).round().clamp(min=1).minimum(w_B1)
    inside = []
    for used_BN, length_B1, size_B1 in ((down_BH, h_B1, high_B1), (across_BW, w_B1, wide_B1)):
        start_B1 = (_uniform(size_B1, 0, 1) * (length_B1 - size_B1 + 1)).floor()
        place_BN = used_BN.cumsum(1) - 1
        inside.append(used_BN & (place_BN >= start_B1) & (place_BN < start_B1 + size_B1))
    return inside[0][:, :, None] & inside[1][:, None, :] & real_BHW


def draw_context_and_targets(
    real_BHW: Tensor, count: int, context: Range, target: Range, aspect: Range
) -> tuple[Tensor, Tensor]:
    """Draw the tokens that are shown and `count` blocks that are to be guessed (Assran et al. 2023, section 3).

    The context is a block of aspect 1 less all targets. Where targets would leave nothing of it, one random token of
    it is shown and guessed in no block.

    Args:
        real_BHW: bool, which tokens are no padding.
        count: N, how many blocks are to be guessed.
        context: share of the tokens that the context's block covers, from and to.
        target: share that each target covers, from and to.
        aspect: of targets, from and to (see `draw_block`).

    Returns:
        context bool (B, T), at least one token of every record; targets bool (N, B, T), in one of them at least one
        token of every record whose context block has two.
    """
    targets_NBT = torch.stack([draw_block(real_BHW, target, aspect).flatten(1) for _ in range(count)])
    block_BT = draw_block(real_BHW, context, (1.0, 1.0)).flatten(1)
    context_BT = block_BT & ~targets_NBT.any(0)
    luck_BT = torch.rand_like(block_BT, dtype=torch.float).masked_fill(~block_BT, -math.inf)
    luckiest_BT = block_BT & (luck_BT == luck_BT.amax(1, keepdim=True))
    saved_BT = luckiest_BT & ~context_BT.any(1, keepdim=True)
    return context_BT | saved_BT, targets_NBT & ~saved_BT


def _uniform(like: Tensor, low: float, high: float) -> Tensor:
    return torch.rand_like(like, dtype=torch.float) * (high - low) + low
