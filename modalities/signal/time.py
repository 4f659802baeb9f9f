"""Moving along the time axis: all channels of a signal alike, every row by its own law.

Letters: B signals, C channels, T steps of what comes in, S steps of what goes out.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from sensorium.modalities.signal.batch import SignalBatch


def taken(batch: SignalBatch, index_BS: Tensor, lengths_B: Tensor) -> SignalBatch:
    """Return the steps at `index_BS`, int64 positions in each row; those from `lengths_B` on are padding."""
    real_B1S = (torch.arange(index_BS.shape[1], device=batch.device) < lengths_B[:, None])[:, None]
    index_BCS = index_BS.clamp(0, batch.values.shape[2] - 1)[:, None].expand(-1, batch.values.shape[1], -1)
    observed_BCS = batch.observed.gather(2, index_BCS) & real_B1S
    values_BCS = batch.values.gather(2, index_BCS).masked_fill(~observed_BCS, 0.0)
    return dataclasses.replace(batch, values=values_BCS, lengths=lengths_B, observed=observed_BCS)


def rearranged(batch: SignalBatch, segment_BT: Tensor, order_BS: Tensor) -> SignalBatch:
    """Put the segments of each signal into another order.

    Args:
        batch: the signals.
        segment_BT: int64, which of S segments a step belongs to.
        order_BS: numbers by whose size segments are ordered.
    """
    keys_BT = order_BS.to(torch.float64).gather(1, segment_BT)
    keys_BT = keys_BT.masked_fill(~batch.steps, torch.inf)  # padding stays last
    return taken(batch, keys_BT.argsort(dim=1, stable=True), batch.lengths)


def cropped(batch: SignalBatch, starts_B: Tensor, lengths_B: Tensor) -> SignalBatch:
    """Return a piece of each row, `lengths_B` steps from `starts_B` on, padded to the longest piece."""
    offsets_S = torch.arange(int(lengths_B.max()), device=batch.device)
    return taken(batch, starts_B[:, None] + offsets_S, lengths_B)


def resampled(batch: SignalBatch, places_BS: Tensor, lengths_B: Tensor) -> SignalBatch:
    """Return the values between steps, by linear interpolation.

    Args:
        batch: what is read.
        places_BS: float, where in each row to read, from 0 to its length - 1.
        lengths_B: int64, from which column of `places_BS` on a row is padding.

    A value is observed where all that it is made of is.
    """
    last_B1 = (batch.lengths - 1)[:, None]
    low_BS = places_BS.floor().long().clamp(min=0).minimum(last_B1)
    share_BS = (places_BS - low_BS).clamp(0, 1)
    low = taken(batch, low_BS, lengths_B)
    high = taken(batch, (low_BS + 1).minimum(last_B1), lengths_B)
    share_B1S = share_BS[:, None].to(batch.values.dtype)
    observed_BCS = low.observed & (high.observed | (share_B1S == 0))
    values_BCS = torch.lerp(low.values, high.values, share_B1S).masked_fill(~observed_BCS, 0.0)
    return dataclasses.replace(batch, values=values_BCS, lengths=lengths_B, observed=observed_BCS)


def evenly(batch: SignalBatch, steps: int) -> Tensor:
    """Return every row stretched or shrunk to `steps` steps: float (B, C, steps), zero where nothing was observed."""
    share_S = torch.linspace(0, 1, steps, device=batch.device, dtype=torch.float64)
    places_BS = share_S * (batch.lengths - 1)[:, None]
    return resampled(batch, places_BS, torch.full_like(batch.lengths, steps)).values


def pooled(tokens_BTD: Tensor, steps_BT: Tensor, how: str) -> Tensor:
    """Return one vector (B, D) of each row's real steps: their "mean", their "max", or the "last" of them."""
    if how == "last":
        last_B = (steps_BT.sum(1) - 1).clamp(min=0)
        return tokens_BTD[torch.arange(len(last_B), device=last_B.device), last_B]
    away_BT1 = ~steps_BT[..., None]
    if how == "max":
        return tokens_BTD.masked_fill(away_BT1, float("-inf")).amax(1)
    summed_BD = tokens_BTD.masked_fill(away_BT1, 0.0).sum(1, dtype=torch.promote_types(tokens_BTD.dtype, torch.float32))
    return (summed_BD / steps_BT.sum(1, keepdim=True).clamp(min=1)).to(tokens_BTD.dtype)


def in_parts(tokens_BTD: Tensor, steps_BT: Tensor, parts: int) -> Tensor:
    """Return the means of P parts of each row's real steps side by side, (B, P * D): each part half over the next.

    A row without real steps has zeros.
    """
    weights_BPT = _parts(steps_BT, parts).to(tokens_BTD.dtype)
    return (weights_BPT @ tokens_BTD.masked_fill(~steps_BT[..., None], 0.0)).flatten(1)


def _parts(steps_BT: Tensor, parts: int) -> Tensor:
    """Return the weights (B, P, T) of each step in each part of its row.

    A weight falls from the middle of a part to nothing at the middles of its neighbors; those of a part sum to one.
    """
    places_BT = (steps_BT.cumsum(1) - 0.5) / steps_BT.sum(1, keepdim=True).clamp(min=1)
    middles_P1 = (torch.arange(parts, device=steps_BT.device)[:, None] + 0.5) / parts
    weights_BPT = (1 - parts * (places_BT[:, None] - middles_P1).abs()).clamp(min=0) + 1e-6
    weights_BPT = weights_BPT * steps_BT[:, None]
    return weights_BPT / weights_BPT.sum(2, keepdim=True).clamp(min=1e-6)
