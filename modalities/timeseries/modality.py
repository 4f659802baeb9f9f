"""The time series modality."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from sensorium import BadSample, Modality, View, check_range
from sensorium.errors import DataError, RecipeError
from sensorium.modalities.signal.batch import SignalBatch, check_axes, rows_with_info
from sensorium.modalities.signal.fitting import readable_examples
from sensorium.modalities.signal.plot import TimeAxis, plot
from sensorium.modalities.signal.time_axis import resize
from sensorium.modalities.timeseries.catch22 import catch22, require_pycatch22
from sensorium.modalities.timeseries.decode import Layout, decode, origins, relative
from sensorium.modalities.timeseries.preprocess import Step, preprocess
from sensorium.modalities.timeseries.scaling import ESTIMATORS, ScaleEstimator, Scaling, Steps
from sensorium.modalities.timeseries.series import Axes, Series

BASELINE_STEPS, VALUE_STEPS = 128, 1024
"""Time steps that a series is resampled to for the baseline features "series" and "values"."""
Baseline = Literal["series", "catch22", "both", "values"]


class TimeSeriesModality(Modality):
    """Time series: univariate or multivariate, of any length, with missing values.

    A raw value is an array or list, (T,) or (C, T), or a numpy file (.npy, or .npz with one array). nan, None and
    masked entries are missing; a series with an infinite value, or without any value, is skipped as unreadable. Each
    channel is scaled by statistics of the train part, and missing values are then zero, the channel's center. Values
    are centered in double precision first, integers of any size exactly: the steps of a counter are kept.

    Args:
        channels: number of channels; None takes that of the train part. Series with another number are unreadable.
        length: maximum length in time steps, longer series are truncated; None keeps all.
        scale: "standard" (mean 0 and standard deviation 1 over the train part), "robust" (median 0, scaled by the
            interquartile range) or "none", which centers only channels whose steps single precision would lose.
        preprocess: steps before scaling, in their order: "snv" (standard normal variate: each series minus its mean,
            over its standard deviation), "derivative" and "second-derivative" (Savitzky-Golay), as for spectra.
        window: length of the Savitzky-Golay filter in steps, odd, 3 to 99.
        layout: the axes of two-dimensional arrays, "channels-first" (C, T) or "time-first" (T, C).
        baseline: the baseline features of tables: "series" (each channel resampled to 128 steps, and six statistics),
            "catch22" (22 characteristics of each channel, by the extra of that name), "both", or "values" (each channel
            resampled to 1,024 steps alone, as for spectra).
    """

    reads_files, preview_cell = True, 256

    def __init__(
        self,
        channels: int | None = None,
        length: int | None = None,
        scale: Scaling = "standard",
        preprocess: tuple[Step, ...] = (),
        window: int = 11,
        layout: Layout = "channels-first",
        baseline: Baseline = "series",
    ) -> None:
        check_range("modality 'timeseries'", "[1, inf)", channels=channels, length=length)
        check_range("modality 'timeseries'", "[3, 99]", window=window)
        if window % 2 == 0:
            raise RecipeError(f"The option window of the modality 'timeseries' is odd, not {window}.")
        self.preprocess, self.window = preprocess, window
        if baseline in ("catch22", "both"):
            require_pycatch22()
        self.channels, self.length, self.scale, self.layout = channels, length, scale, layout
        self.baseline = baseline
        self._center_C1: np.ndarray | None = None
        self._std_C1: np.ndarray | None = None
        self._origin_C: list[int] | None = None
        self._is_fitted = False
        self.axes: Axes | None = None
        if channels is not None and scale == "none":
            self._set_scale(*ESTIMATORS[scale](channels).estimate())

    @property
    def extensions(self) -> tuple[str, ...]:
        """Those of numpy files."""
        return ".npy", ".npz"

    def decode(self, raw: Any) -> np.ndarray:
        """Decode a raw value to a scaled series: float32 (C, T), nan where a value is missing.

        Raises:
            BadSample: when the value is no series, has another number of channels, no steps, an infinite value, or
                only missing ones.
        """
        array_CT = self._read(raw)
        with np.errstate(over="ignore"):
            scaled_CT = self._scaled(array_CT).astype(np.float32)
        if np.isinf(scaled_CT).any():
            raise BadSample("a value is too large for single precision", "too-large")
        return scaled_CT

    def _scaled(self, array_CT: np.ndarray) -> np.ndarray:
        """Return numbers of as many channels as the modality has, scaled in double precision: float64 (C, T)."""
        if len(array_CT) != self.channels:
            raise BadSample(f"the series has {len(array_CT)} channels, not {self.channels}", "unsupported")
        return (self._unscaled(array_CT, self._origin_C) - self._center_C1) / self._std_C1

    def _unscaled(self, array_CT: np.ndarray, origin_C: Sequence[int | None] | None) -> np.ndarray:
        """Return numbers relative to their origin, preprocessed: float64 (C, T)."""
        return preprocess(relative(array_CT, origin_C), self.preprocess, self.window)

    def _layout_of(self, raw: Any) -> Layout:
        return "channels-first" if isinstance(raw, Series) else self.layout

    def _read(self, raw: Any) -> np.ndarray:
        """Return a raw value as numbers (C, T) of at most `length` steps, not yet scaled."""
        if isinstance(raw, Series):
            self._check_axes(raw.axes)
        array_CT = decode(raw, self._layout_of(raw))[:, : self.length]
        if (array_CT != array_CT).all():
            raise BadSample(f"every value of the first {self.length} steps is missing", "empty")
        return array_CT

    def _check_axes(self, axes: Axes) -> None:
        """Raise BadSample when the channels of a series are not those that the modality was fitted to."""
        if self.axes is not None and axes.channels != self.axes.channels:
            raise BadSample(
                f"the channels of the series are {', '.join(axes.channels)[:80]}, not "
                f"{', '.join(self.axes.channels)[:80]}"
            )

    def collate(self, examples: Sequence[np.ndarray]) -> SignalBatch:
        """Pad examples, float32 (C, T_i) each, to the longest of them."""
        return SignalBatch.join(examples)

    def batch_of(self, x: torch.Tensor) -> SignalBatch | None:
        """Return series of one length as a batch on their device; None for a tensor of one series.

        Args:
            x: float (B, C, T), nan where a value is missing, scaled already: they are taken as they are, up to
                `length`.

        Raises:
            DataError: when axes, channels or number type are others.
            RecipeError: with `preprocess`, which is for single series.
        """
        check_axes(x, self.channels, 0 if self.layout == "channels-first" else 1)
        batch = SignalBatch.of_tensor(x if x.ndim < 3 else x[..., : self.length], self.channels)
        if batch is not None and self.preprocess:
            raise RecipeError(
                "The option preprocess of the modality 'timeseries' is for single series: leave it out, or hand in "
                "transform.batch(list(x))."
            )
        return batch

    def fit(self, raws: Iterable[Any]) -> None:
        """Estimate the number of channels, and the center and scale of each, from the train part.

        Raises:
            DataError: when there is no series among the raw values, or they do not agree on the number of channels.
        """
        self.axes = None
        estimators: dict[int, ScaleEstimator] = {}
        origins_of: dict[int, list[int | None]] = {}
        counts: dict[int, int] = {}
        for array_CT in readable_examples(self._watched(raws), self._read, "series"):
            channels = len(array_CT)
            if channels not in estimators:
                estimators[channels], counts[channels] = ESTIMATORS[self.scale](channels), 0
                origins_of[channels] = [None] * channels
            if None in origins_of[channels]:  # until each channel has a value
                pairs = zip(origins_of[channels], origins(array_CT), strict=True)
                origins_of[channels] = [new if known is None else known for known, new in pairs]
            estimators[channels].update(self._unscaled(array_CT, origins_of[channels]))
            counts[channels] += 1
        chosen = max(counts, key=counts.__getitem__) if self.channels is None else self.channels
        if 2 * counts.get(chosen, 0) <= sum(counts.values()):
            found = ", ".join(f"{count} of {channels} channels" for channels, count in sorted(counts.items())[:5])
            raise DataError(
                f"The series of the train part do not agree on {self.channels or 'a number of'} channels "
                f"({found}): set the modality's channels, or layout: time-first when time is their first axis."
            )
        center_C, std_C = estimators[chosen].estimate()
        self._set_scale(center_C, std_C, [origin or 0 for origin in origins_of[chosen]])
        self._is_fitted = True

    def notes(self, raws: Sequence[Any]) -> list[str]:
        """Return how many series are cut at `length`, and which channels single precision does not hold well."""
        assert self._center_C1 is not None
        steps, size_C, cut, count = Steps(len(self._center_C1)), np.zeros(len(self._center_C1)), 0, 0
        for raw in raws:
            try:
                scaled_CT = self._scaled(self._read(raw))
                cut += self.length is not None and decode(raw, self._layout_of(raw)).shape[1] > self.length
            except BadSample:
                continue
            count += 1
            steps.update(scaled_CT)
            size_C = np.maximum(size_C, np.nanmax(np.abs(scaled_CT), axis=1, initial=0.0))
        said = [f"{cut} of {count} series are cut at length: {self.length} steps"] if cut else []
        for channel in np.flatnonzero(steps.lost(size_C)):
            said.append(
                f"{self._name_of(channel)} has steps that are too small beside its range for single precision, and "
                "half of them are lost: take derivatives (preprocess: [derivative])"
            )
        for channel in np.flatnonzero(self._center_C1[:, 0]) if self.scale == "none" else ():
            said.append(
                f"{self._name_of(channel)} is centered on {self._center_C1[channel, 0]:,.0f} although scale is none, "
                "as single precision would lose its steps"
            )
        return said

    def _name_of(self, channel: int) -> str:
        return f"channel {channel}" if self.axes is None else f"the channel '{self.axes.channels[channel]}'"

    def _watched(self, raws: Iterable[Any]) -> Iterator[Any]:
        """Pass raw values on, and take the axes of the first series that knows them."""
        for raw in raws:
            if self.axes is None and isinstance(raw, Series):
                self.axes = raw.axes
            yield raw

    def _set_scale(self, center_C: np.ndarray, std_C: np.ndarray, origin_C: list[int] | None = None) -> None:
        self.channels, self._origin_C = len(center_C), origin_C
        self._center_C1, self._std_C1 = center_C[:, None], std_C[:, None]

    @property
    def is_fitted(self) -> bool:
        """Whether the channels and their scale were learned from the train part."""
        return self._is_fitted

    def state(self) -> dict[str, Any]:
        """Return center and scale of each channel, and its origin and name where it has any."""
        if self._center_C1 is None or self._std_C1 is None:
            return {}
        state = {"center": self._center_C1[:, 0].tolist(), "std": self._std_C1[:, 0].tolist()}
        if self._origin_C is not None and any(self._origin_C):
            state["origin"] = self._origin_C
        return state if self.axes is None else state | {"axes": asdict(self.axes)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        if not state:
            self._is_fitted = self._center_C1 is not None
            return
        center_C, std_C = np.array(state["center"], np.float64), np.array(state["std"], np.float64)
        self._set_scale(center_C, std_C, state.get("origin"))
        if "axes" in state:
            self.axes = Axes(**state["axes"] | {"channels": tuple(state["axes"]["channels"])})
        self._is_fitted = True

    def describe(self, raw: Any, example: np.ndarray) -> dict[str, float | bool | str]:
        """Return time steps, channels and the fraction of missing values, and whether a longer series is truncated."""
        channels, steps = example.shape
        if steps == self.length:
            steps = decode(raw, self.layout).shape[1]
        missing = float(np.isnan(example).mean())
        truncated = {} if self.length is None else {f"cut at {self.length} steps": steps > self.length}
        return {"time steps": steps, "channels": channels, "missing fraction": missing, **truncated}

    def preview(self, example: np.ndarray) -> Image.Image:
        """Plot an example, float32 (C, T), on 256 x 256 pixels, with its time axis; gaps are gray."""
        return self._plot(example, {})

    def preview_views(self, batch: SignalBatch, views: Sequence[View]) -> list[list[Image.Image]]:
        """Plot the rows of views: above each where its crop lies in the whole series, masked steps dark gray."""
        return [[self._plot(row, info) for row, info in rows_with_info(view)] for view in views]

    def _plot(self, example: np.ndarray, info: Mapping[str, np.ndarray]) -> Image.Image:
        axes = self.axes or Axes(tuple(f"channel {channel}" for channel in range(len(example))))
        crop = tuple(info["crop"].tolist()) if "crop" in info else None
        unit = axes.unit if axes.period else "steps"
        time = TimeAxis(axes.period or 1.0, unit, crop, axes.start)  # type: ignore[arg-type]
        masked_T = info["masked steps"][: example.shape[1]] if "masked steps" in info else None
        return plot(example, axes.channels, time, masked_T)

    def examples(self, batch: SignalBatch) -> list[np.ndarray]:
        """Return the examples of a batch, float32 (C, T_i) each."""
        return batch.unpad()

    @property
    def baseline_description(self) -> str:
        """The option `baseline`."""
        return {
            "series": "resampled channels and their statistics",
            "catch22": "catch22",
            "both": "resampled channels, their statistics and catch22",
            "values": "the series themselves, preprocessed",
        }[self.baseline]

    def baseline_features(self, batch: SignalBatch) -> np.ndarray:
        """Return the features that the option `baseline` names, float32 (B, D)."""
        parts = {"series": [_series], "catch22": [catch22], "both": [_series, catch22], "values": [_values]}
        functions = parts[self.baseline]
        return np.concatenate([compute(batch) for compute in functions], axis=1)


def _values(batch: SignalBatch) -> np.ndarray:
    """Return each channel resampled to 1,024 steps, float32 (B, C x 1024)."""
    return resize(batch, VALUE_STEPS).flatten(1).float().cpu().numpy()


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
