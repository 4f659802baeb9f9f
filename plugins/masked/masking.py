"""Which tokens are hidden, and how.

Letters: B rows, T tokens, D width.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
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


def hide(view: View, tokens: Tokens, ratio: float) -> Tensor:
    """Return the tokens to hide, bool (B, T): those of the view's own `info["masked"]`, or else random ones.

    Random are round(ratio x its real tokens) of each row, every set of them equally likely. At least one is hidden and
    one visible where a row has two; a row of one token hides none. Draws from torch's global generator.

    Raises:
        RecipeError: when the view's hidden tokens are already replaced, so that nobody could say what they were.
    """
    valid_BT = tokens.valid()
    if "masked" in view.info:
        if view.target is not None:
            raise RecipeError(
                "The views have already replaced the tokens that they hide, and carry them as their target, which is "
                "for the objective 'masked-token': choose views that leave tokens as they are, such as 'plain'."
            )
        return view.info["masked"] & valid_BT
    count_B = valid_BT.sum(1)
    hidden_B = (ratio * count_B).round().clamp(min=1).minimum(count_B - 1)
    luck_BT = torch.rand_like(valid_BT, dtype=torch.float).masked_fill(~valid_BT, torch.inf)
    return luck_BT.argsort(dim=1).argsort(dim=1) < hidden_B[:, None]


def hide_spans(view: View, tokens: Tokens, start: float, span: int) -> Tensor:
    """Return runs of tokens to hide, bool (B, T): those of the view's own `info["masked"]`, or else random ones.

    Every real token starts a run of `span` with probability `start`; runs overlap and end with the record (Baevski et
    al. 2020, section 3.1). At least one run is hidden, and one token visible, where a row has two tokens; a row of one
    hides none. Draws from torch's global generator.
    """
    if "masked" in view.info:
        return hide(view, tokens, start)
    valid_BT = tokens.valid()
    luck_BT = torch.rand_like(valid_BT, dtype=torch.float).masked_fill(~valid_BT, torch.inf)
    starts_BT = (luck_BT < start) | (luck_BT == luck_BT.amin(1, keepdim=True))
    begun_BT = F.pad(starts_BT.float(), (span - 1, 0))
    hidden_BT = (F.max_pool1d(begun_BT[:, None], span, stride=1)[:, 0] > 0) & valid_BT
    spared_BT = luck_BT == luck_BT.masked_fill(~valid_BT, -torch.inf).amax(1, keepdim=True)
    full_B1 = (hidden_BT | ~valid_BT).all(1, keepdim=True)
    return hidden_BT & ~(full_B1 & spared_BT)


def distractors(mask_BM: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Draw, for each hidden token, others of its record: places int64 (B, M, K) among its M, with replacement.

    Args:
        mask_BM: bool, which of the M are hidden tokens and no filling.
        count: K.

    Returns:
        The places, and which tokens have distractors, bool (B, M): hidden ones that are not the only one of their
        record. Places of the others mean nothing. Draws from torch's global generator.
    """
    hidden_B1 = mask_BM.sum(1, keepdim=True)
    order_BM = mask_BM.to(torch.int8).argsort(dim=1, descending=True, stable=True)  # hidden ones first
    rank_BM = mask_BM.cumsum(1) - 1
    others_B11 = (hidden_B1 - 1).clamp(min=1)[..., None]
    luck_BMK = torch.rand(*mask_BM.shape, count, device=mask_BM.device)
    pick_BMK = (luck_BMK * others_B11).long().minimum(others_B11 - 1)
    pick_BMK = pick_BMK + (pick_BMK >= rank_BM[..., None])  # step over the token itself
    pick_BMK = pick_BMK.clamp(0, mask_BM.shape[1] - 1)
    places_BMK = order_BM[:, None].expand(-1, mask_BM.shape[1], -1).gather(2, pick_BMK)
    return places_BMK, mask_BM & (hidden_B1 > 1)


def cover(tokens: Tokens, hidden_BT: Tensor, mask_token_D: Tensor) -> Tokens:
    """Return the tokens, the hidden ones replaced with the mask token; where they stand remains to be seen."""
    return replace(tokens, x=torch.where(hidden_BT[..., None], mask_token_D.to(tokens.x.dtype), tokens.x))
