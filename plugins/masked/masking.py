"""Which tokens are hidden, and how.

Letters: B rows, T tokens, D width.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sensorium import Tokens, View
from sensorium.errors import RecipeError


def share(ratio: float, of: str) -> float:
    """Return `ratio` when it lies in (0, 1).

    Raises:
        RecipeError: when it does not.
    """
    if not 0 < ratio < 1:
        raise RecipeError(f"The ratio of the objective '{of}' must lie between 0 and 1, not at {ratio}.")
    return ratio


def real(tokens: Tokens) -> Tensor:
    """Return which tokens are no padding, bool (B, T)."""
    return torch.ones_like(tokens.x[..., 0], dtype=torch.bool) if tokens.mask is None else tokens.mask


def hide(view: View, tokens: Tokens, ratio: float) -> Tensor:
    """Return the tokens to hide, bool (B, T): those of the view's own `info["mask"]`, or else random ones.

    Random are round(ratio x its real tokens) of each row, every set of them equally likely. At least one is hidden and
    one visible where a row has two; a row of one token hides none. Draws from torch's global generator.

    Raises:
        RecipeError: when the view's hidden tokens are already replaced, so that nobody could say what they were.
    """
    real_BT = real(tokens)
    if "mask" in view.info:
        if view.target is not None:
            raise RecipeError(
                "The views have already replaced the tokens that they hide, and carry them as their target, which is "
                "for the objective 'masked-token': choose views that leave tokens as they are, such as 'plain'."
            )
        return view.info["mask"] & real_BT
    count_B = real_BT.sum(1)
    hidden_B = (ratio * count_B).round().clamp(min=1).minimum(count_B - 1)
    luck_BT = torch.rand_like(real_BT, dtype=torch.float).masked_fill(~real_BT, torch.inf)
    return luck_BT.argsort(dim=1).argsort(dim=1) < hidden_B[:, None]


def cover(tokens: Tokens, hidden_BT: Tensor, mask_token_D: Tensor) -> Tokens:
    """Return the tokens, the hidden ones replaced with the mask token; where they stand remains to be seen."""
    return replace(tokens, x=torch.where(hidden_BT[..., None], mask_token_D.to(tokens.x.dtype), tokens.x))
