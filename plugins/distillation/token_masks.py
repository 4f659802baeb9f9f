"""Which tokens of a view a student does not see."""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium import Tokens, View


def hidden_tokens(view: View, tokens: Tokens, share: tuple[float, float], probability: float) -> Tensor:
    """Return the mask that the view carries as `info["masked"]`, or a random one; only real tokens are hidden.

    Args:
        view: B records.
        tokens: their T tokens.
        share: least and greatest share of a record's real tokens to hide, drawn for each record.
        probability: with which anything of a record is hidden at all.

    Returns:
        bool (B, T), True where a token is hidden.
    """
    b, t = tokens.x.shape[:2]
    device = tokens.x.device
    real_BT = tokens.valid()
    if "masked" in view.info:
        return view.info["masked"] & real_BT
    least, greatest = share
    share_B1 = least + (greatest - least) * torch.rand(b, 1, device=device)
    share_B1 = share_B1 * (torch.rand(b, 1, device=device) < probability)
    # Padding comes last in the random order, so that shares are of what is real.
    order_BT = torch.rand(b, t, device=device).masked_fill(~real_BT, 2.0).argsort(1).argsort(1)
    return (order_BT < (share_B1 * real_BT.sum(1, keepdim=True)).round()) & real_BT
