"""Gathering, cropping and resampling along the time axis, the same for all channels of a signal.

Letters: B signals, C channels, T time steps of the input, S time steps of the output.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from sensorium.modalities.signal.batch import SignalBatch, known_on_host, longest_of


def gather_steps(
    batch: SignalBatch, index_BS: Tensor, lengths_B: Tensor, host_lengths: np.ndarray | None = None
) -> SignalBatch:
    """Return the steps at `index_BS`, int64 indices into each row; those from `lengths_B` on are padding.

    `host_lengths` are the same lengths on the host, where it knows them of a batch on a device.
    """
    valid_B1S = (torch.arange(index_BS.shape[1], device=batch.device) < lengths_B[:, None])[:, None]
    index_BCS = index_BS.clamp(0, batch.values.shape[2] - 1)[:, None].expand(-1, batch.values.shape[1], -1)
    observed_BCS = batch.observed.gather(2, index_BCS) & valid_B1S
    values_BCS = batch.values.gather(2, index_BCS).masked_fill(~observed_BCS, 0.0)
    return dataclasses.replace(
        batch, values=values_BCS, lengths=lengths_B, observed=observed_BCS, host_lengths=host_lengths
    )


def permute_segments(batch: SignalBatch, segment_BT: Tensor, order_BS: Tensor) -> SignalBatch:
    """Permute the segments of each signal.

    Args:
        batch: the signals.
        segment_BT: int64, which of S segments a step belongs to.
        order_BS: sort keys of the segments, ascending.
    """
    keys_BT = order_BS.to(torch.float64).gather(1, segment_BT)
    keys_BT = keys_BT.masked_fill(~batch.valid, torch.inf)  # padding stays last
    return gather_steps(batch, keys_BT.argsort(dim=1, stable=True), batch.lengths, batch.host_lengths)


def crop(
    batch: SignalBatch,
    starts_B: Tensor,
    lengths_B: Tensor,
    host_lengths: np.ndarray | None = None,
    most: int | None = None,
) -> SignalBatch:
    """Return a crop of each row, padded to the longest crop.

    Args:
        batch: the signals.
        starts_B: int64, the first step of each crop.
        lengths_B: int64, how many steps it has.
        host_lengths: the same on the host, where it knows them of a batch on a device.
        most: the largest length that a crop can have, to which all are padded where the host does not know more; None
            is the length of the batch.
    """
    most = batch.values.shape[2] if most is None else most
    steps = longest_of(known_on_host(lengths_B, host_lengths), most)
    offsets_S = torch.arange(steps, device=batch.device)
    return gather_steps(batch, starts_B[:, None] + offsets_S, lengths_B, host_lengths)


def crop_place(starts_B: Tensor, counts_B: Tensor, lengths_B: Tensor) -> Tensor:
    """Return where crops lie, as previews draw it (`View.info["crop"]`): float (B, 3).

    Args:
        starts_B: the first step of each crop.
        counts_B: how many steps it has.
        lengths_B: how many the signal has that it was cut from.
    """
    return torch.stack([part.to(torch.float32) for part in (starts_B, counts_B, lengths_B)], dim=1)


def resample(
    batch: SignalBatch, times_BS: Tensor, lengths_B: Tensor, host_lengths: np.ndarray | None = None
) -> SignalBatch:
    """Return values between steps, by linear interpolation; one is observed where all values it is made of are.

    Args:
        batch: the signals.
        times_BS: float, where to sample each row, from 0 to its length - 1.
        lengths_B: int64, from which column of `times_BS` on a row is padding.
        host_lengths: the same on the host, where it knows them of a batch on a device.
    """
    last_B1 = (batch.lengths - 1)[:, None]
    low_BS = times_BS.floor().long().clamp(min=0).minimum(last_B1)
    weight_BS = (times_BS - low_BS).clamp(0, 1)
    low = gather_steps(batch, low_BS, lengths_B, host_lengths)
    high = gather_steps(batch, (low_BS + 1).minimum(last_B1), lengths_B, host_lengths)
    weight_B1S = weight_BS[:, None].to(batch.values.dtype)
    observed_BCS = low.observed & (high.observed | (weight_B1S == 0))
    values_BCS = torch.lerp(low.values, high.values, weight_B1S).masked_fill(~observed_BCS, 0.0)
    return dataclasses.replace(low, values=values_BCS, observed=observed_BCS)


def resize(batch: SignalBatch, steps: int) -> Tensor:
    """Return every row resampled to `steps` even steps: float (B, C, steps), zero where nothing was observed."""
    fraction_S = torch.linspace(0, 1, steps, device=batch.device, dtype=torch.float64)
    times_BS = fraction_S * (batch.lengths - 1)[:, None]
    return resample(batch, times_BS, torch.full_like(batch.lengths, steps)).values
