"""Baseline features of time series.

Letters: B series, C channels, T time steps, S resampled steps, F features of a channel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.time_axis import resize
from sensorium.modalities.timeseries.catch22 import catch22
from sensorium.modalities.timeseries.channel_batch import ChannelSetBatch

SERIES_STEPS, VALUE_STEPS = 128, 1024
"""Time steps that a series is resampled to for the baseline features "series" and "values"."""
Baseline = Literal["series", "catch22", "both", "values"]
DESCRIPTIONS: dict[Baseline, str] = {
    "series": "resampled channels and their statistics",
    "catch22": "catch22",
    "both": "resampled channels, their statistics and catch22",
    "values": "the series themselves, preprocessed",
}


def baseline_features(batch: SignalBatch, kind: Baseline) -> np.ndarray:
    """Return baseline features float32 (B, D): those of all channels side by side.

    Of series of different channel sets, mean and standard deviation of each feature over a series' channels, the
    channels' levels among the features.
    """
    parts = [compute(batch) for compute in PARTS[kind]]
    if not isinstance(batch, ChannelSetBatch):
        return np.concatenate([part_BCF.reshape(len(batch), -1) for part_BCF in parts], axis=1)
    features_BCF = np.concatenate([batch.levels.cpu().numpy(), *parts], axis=2)
    own_BC1 = batch.own_channels()[..., None]
    count_B1 = np.maximum(own_BC1.sum(1), 1)
    mean_BF = features_BCF.sum(1, where=own_BC1) / count_B1
    squares_BF = np.square(features_BCF - mean_BF[:, None]).sum(1, where=own_BC1)
    return np.concatenate([mean_BF, np.sqrt(squares_BF / count_B1)], axis=1).astype(np.float32)


def _values(batch: SignalBatch) -> np.ndarray:
    """Return each channel resampled to 1,024 steps, float32 (B, C, 1024)."""
    return _on_host(resize(batch, VALUE_STEPS))


def _series(batch: SignalBatch) -> np.ndarray:
    """Return each channel resampled to 128 steps, with mean, std, minimum, maximum, roughness and observed fraction."""
    observed_BCT, x_BCT = batch.observed, batch.values.double()
    count_BC = observed_BCT.sum(2)
    divisor_BC = count_BC.clamp(min=1)
    mean_BC = x_BCT.sum(2) / divisor_BC
    squares_BC = (x_BCT - mean_BC[..., None]).masked_fill(~observed_BCT, 0.0).square().sum(2)
    low_BC = x_BCT.masked_fill(~observed_BCT, torch.inf).amin(2).nan_to_num(posinf=0.0)
    high_BC = x_BCT.masked_fill(~observed_BCT, -torch.inf).amax(2).nan_to_num(neginf=0.0)
    both_BCT = observed_BCT[..., 1:] & observed_BCT[..., :-1]
    roughness_BC = x_BCT.diff(dim=2).abs().masked_fill(~both_BCT, 0.0).sum(2) / both_BCT.sum(2).clamp(min=1)
    fraction_BC = count_BC / batch.lengths[:, None]
    statistics_BC6 = torch.stack(
        [mean_BC, (squares_BC / divisor_BC).sqrt(), low_BC, high_BC, roughness_BC, fraction_BC], dim=-1
    )
    series_BCS = resize(batch, SERIES_STEPS).double()
    return _on_host(torch.cat([series_BCS, statistics_BC6], dim=2))


def _on_host(features_BCF: Tensor) -> np.ndarray:
    return features_BCF.float().cpu().numpy()


PARTS: dict[Baseline, list[Callable[[SignalBatch], np.ndarray]]] = {
    "series": [_series],
    "catch22": [catch22],
    "both": [_series, catch22],
    "values": [_values],
}
