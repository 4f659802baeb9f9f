"""The time series modality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from sensorium import BadSample, Modality, check_range
from sensorium.errors import DataError
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.fitting import readable_examples
from sensorium.modalities.signal.plot import plot
from sensorium.modalities.signal.time_axis import resize
from sensorium.modalities.timeseries.catch22 import catch22, require_pycatch22
from sensorium.modalities.timeseries.decode import Layout, decode
from sensorium.modalities.timeseries.scaling import ESTIMATORS, ScaleEstimator, Scaling

BASELINE_STEPS = 128
"""Time steps that a series is resampled to for the baseline features."""
Baseline = Literal["series", "catch22", "both"]


class TimeSeriesModality(Modality):
    """Time series: univariate or multivariate, of any length, with missing values.

    A raw value is an array or list, (T,) or (C, T), or a numpy file (.npy, or .npz with one array). nan, None and
    masked entries are missing; a series with an infinite value, or without any value, is skipped as unreadable. Each
    channel is scaled by statistics of the train part, and missing values are then zero, the channel's center.

    Args:
        channels: number of channels; None takes that of the train part. Series with another number are unreadable.
        length: maximum length in time steps, longer series are truncated; None keeps all.
        scale: "standard" (mean 0 and standard deviation 1 over the train part), "robust" (median 0, scaled by the
            interquartile range) or "none".
        layout: the axes of two-dimensional arrays, "channels-first" (C, T) or "time-first" (T, C).
        baseline: the baseline features of tables: "series" (each channel resampled to 128 steps, and six statistics),
            "catch22" (22 characteristics of each channel, by the extra of that name) or "both".
    """

    reads_files = True

    def __init__(
        self,
        channels: int | None = None,
        length: int | None = None,
        scale: Scaling = "standard",
        layout: Layout = "channels-first",
        baseline: Baseline = "series",
    ) -> None:
        check_range("modality 'timeseries'", "[1, inf)", channels=channels, length=length)
        if baseline != "series":
            require_pycatch22()
        self.channels, self.length, self.scale, self.layout = channels, length, scale, layout
        self.baseline = baseline
        self._center_C1: np.ndarray | None = None
        self._std_C1: np.ndarray | None = None
        if channels is not None and scale == "none":
            self._set_scale(*ESTIMATORS[scale](channels).estimate())

    def decode(self, raw: Any) -> np.ndarray:
        """Decode a raw value to a scaled series: float32 (C, T), nan where a value is missing.

        Raises:
            BadSample: when the value is no series, has another number of channels, no steps, an infinite value, or
                only missing ones.
        """
        values_CT = self._read(raw)
        if len(values_CT) != self.channels:
            raise BadSample(f"the series has {len(values_CT)} channels, not {self.channels}")
        with np.errstate(over="ignore"):
            scaled_CT = ((values_CT - self._center_C1) / self._std_C1).astype(np.float32)
        if np.isinf(scaled_CT).any():
            raise BadSample("a value is too large for single precision")
        return scaled_CT

    def _read(self, raw: Any) -> np.ndarray:
        """Return a raw value as float64 (C, T) of at most `length` steps, not yet scaled."""
        values_CT = decode(raw, self.layout)[:, : self.length]
        if np.isnan(values_CT).all():
            raise BadSample(f"every value of the first {self.length} steps is missing")
        return values_CT

    def collate(self, examples: Sequence[np.ndarray]) -> SignalBatch:
        """Pad examples, float32 (C, T_i) each, to the longest of them."""
        return SignalBatch.join(examples)

    def fit(self, raws: Iterable[Any]) -> None:
        """Estimate the number of channels, and the center and scale of each, from the train part.

        Raises:
            DataError: when there is no series among the raw values, or they do not agree on the number of channels.
        """
        estimators: dict[int, ScaleEstimator] = {}
        counts: dict[int, int] = {}
        for values_CT in readable_examples(raws, self._read, "series"):
            channels = len(values_CT)
            if channels not in estimators:
                estimators[channels], counts[channels] = ESTIMATORS[self.scale](channels), 0
            estimators[channels].update(values_CT)
            counts[channels] += 1
        chosen = max(counts, key=counts.__getitem__) if self.channels is None else self.channels
        if 2 * counts.get(chosen, 0) <= sum(counts.values()):
            found = ", ".join(f"{count} of {channels} channels" for channels, count in sorted(counts.items())[:5])
            raise DataError(
                f"The series of the train part do not agree on {self.channels or 'a number of'} channels "
                f"({found}): set the modality's channels, or layout: time-first when time is their first axis."
            )
        self._set_scale(*estimators[chosen].estimate())

    def _set_scale(self, center_C: np.ndarray, std_C: np.ndarray) -> None:
        self.channels = len(center_C)
        self._center_C1, self._std_C1 = center_C[:, None], std_C[:, None]

    @property
    def is_fitted(self) -> bool:
        """Whether the channels and their scale are known."""
        return self._center_C1 is not None

    def state(self) -> dict[str, Any]:
        """Return center and scale of each channel."""
        if self._center_C1 is None or self._std_C1 is None:
            return {}
        return {"center": self._center_C1[:, 0].tolist(), "std": self._std_C1[:, 0].tolist()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore center and scale."""
        if state:
            self._set_scale(np.array(state["center"], np.float64), np.array(state["std"], np.float64))

    def describe(self, raw: Any, example: np.ndarray) -> dict[str, float | bool | str]:
        """Return time steps, channels and the fraction of missing values, and whether a longer series is truncated."""
        channels, steps = example.shape
        if steps == self.length:
            steps = decode(raw, self.layout).shape[1]
        missing = float(np.isnan(example).mean())
        truncated = {} if self.length is None else {f"cut at {self.length} steps": steps > self.length}
        return {"time steps": steps, "channels": channels, "missing fraction": missing, **truncated}

    def preview(self, example: np.ndarray) -> Image.Image:
        """Plot an example, float32 (C, T), on 256 x 256 pixels; gaps are gray."""
        return plot(example)

    def examples(self, batch: SignalBatch) -> list[np.ndarray]:
        """Return the examples of a batch, float32 (C, T_i) each."""
        return batch.unpad()

    @property
    def baseline_description(self) -> str:
        """The option `baseline`."""
        return {"series": "resampled channels and their statistics", "catch22": "catch22"}.get(
            self.baseline, "resampled channels, their statistics and catch22"
        )

    def baseline_features(self, batch: SignalBatch) -> np.ndarray:
        """Return the features that the option `baseline` names, float32 (B, D)."""
        functions = {"series": [_series], "catch22": [catch22], "both": [_series, catch22]}[self.baseline]
        return np.concatenate([compute(batch) for compute in functions], axis=1)


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
    series_BCS = resize(batch, BASELINE_STEPS).double()
    return torch.cat([series_BCS, statistics_BC6], dim=2).flatten(1).float().cpu().numpy()
