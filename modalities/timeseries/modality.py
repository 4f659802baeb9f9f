"""The time series modality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from sensorium import BadSample, Batch, Modality, View, check_range
from sensorium.errors import DataError, RecipeError
from sensorium.modalities.signal.batch import SignalBatch, check_axes, rows_with_info
from sensorium.modalities.signal.fitting import readable_examples
from sensorium.modalities.signal.plot import TimeAxis, plot
from sensorium.modalities.timeseries.baseline import DESCRIPTIONS, Baseline, baseline_features
from sensorium.modalities.timeseries.catch22 import require_pycatch22
from sensorium.modalities.timeseries.channel_batch import ChannelSeries, ChannelSetBatch, index_names
from sensorium.modalities.timeseries.channel_sets import ChannelSets, channel_set
from sensorium.modalities.timeseries.decode import Layout, decode, decode_named, origins, relative
from sensorium.modalities.timeseries.descriptors import NAMES_OF_ANY, names_of_channels, of_any_channels, of_channels
from sensorium.modalities.timeseries.preprocess import Step, preprocess
from sensorium.modalities.timeseries.scaling import ESTIMATORS, ScaleEstimator, Scaling, Steps
from sensorium.modalities.timeseries.series import Axes, Series
from sensorium.modalities.timeseries.tables import is_table


class TimeSeriesModality(Modality):
    """Time series: univariate or multivariate, of any length, with missing values.

    A raw value is an array or list, (T,) or (C, T), or a numpy file (.npy, or .npz with one array). nan, None and
    masked entries are missing; a series with an infinite value, or without any value, is skipped as unreadable. Each
    channel is scaled by statistics of the train part, and missing values are then zero, the channel's center. Values
    are centered in double precision first, integers of any size exactly: the steps of a counter are kept.

    A mapping of "values", one of these, and "channels" names its channels; others than those of the train part are then
    unreadable. With `channels: any` every series has channels of its own, such as 2 or 64, known by name: that of
    its source or of such a mapping, or else its index. A channel without a value in a series is none of it. Each
    channel is scaled by its own statistics in its series; its level beside what its name has in the train part is kept
    (`ChannelSeries.levels_C2`). The encoder is then `channel-transformer`.

    Args:
        channels: number of channels; None takes that of the train part. Series with another number are unreadable.
            "any" takes series of any channels.
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

    reads_files, preview_cell, fits = True, 256, 100_000

    def __init__(
        self,
        channels: int | Literal["any"] | None = None,
        length: int | None = None,
        scale: Scaling = "standard",
        preprocess: tuple[Step, ...] = (),
        window: int = 11,
        layout: Layout = "channels-first",
        baseline: Baseline = "series",
    ) -> None:
        self.any_channels = channels == "any"
        count = channels if isinstance(channels, int) else None
        check_range("modality 'timeseries'", "[1, inf)", channels=count, length=length)
        check_range("modality 'timeseries'", "[3, 99]", window=window)
        if window % 2 == 0:
            raise RecipeError(f"The option window of the modality 'timeseries' is odd, not {window}.")
        self.preprocess, self.window = preprocess, window
        if baseline in ("catch22", "both"):
            require_pycatch22()
        self.channels, self.length, self.scale, self.layout = count, length, scale, layout
        self.baseline, self._sets = baseline, ChannelSets(scale)
        self._center_C1: np.ndarray | None = None
        self._std_C1: np.ndarray | None = None
        self._origin_C: list[int] | None = None
        self._is_fitted = False
        self.axes: Axes | None = None
        if count is not None and scale == "none":
            self._set_scale(*ESTIMATORS[scale](count).estimate())

    def fixed_channels(self, encoder: str) -> int:
        """Return the number of channels, for an encoder that is made for one number of them.

        Raises:
            RecipeError: when series have channels of their own.
        """
        if self.any_channels:
            raise RecipeError(
                f"The encoder '{encoder}' is made for one number of channels, and the modality 'timeseries' has "
                "channels: any: choose the encoder channel-transformer, or give the modality a number of channels."
            )
        assert self.channels is not None, "encoders are made after the modality is fitted"
        return self.channels

    @property
    def extensions(self) -> tuple[str, ...]:
        """Those of numpy files, and of tables of one series."""
        return ".npy", ".npz", ".csv", ".tsv"

    def decode(self, raw: Any) -> np.ndarray | ChannelSeries:
        """Decode a raw value to a scaled series: float32 (C, T), nan where a value is missing.

        With `channels: any` it is a `ChannelSeries`.

        Raises:
            BadSample: when the value is no series, has another number of channels, no steps, an infinite value, or
                only missing ones.
        """
        array_CT, axes = self._read(raw)
        if self.any_channels:
            example = self._sets.scaled(*self._own_channels(array_CT, axes))
            check_finite(example.values_CT)
            return example
        with np.errstate(over="ignore"):
            scaled_CT = self._scaled(array_CT).astype(np.float32)
        check_finite(scaled_CT)
        return scaled_CT

    def _own_channels(self, array_CT: np.ndarray, axes: Axes | None) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """Return the channels that have a value, relative to origins of their own, with these and their names."""
        names = index_names(len(array_CT)) if axes is None else axes.channels
        seen = np.flatnonzero((array_CT == array_CT).any(1))
        array_CT = array_CT[seen]
        origin_C = origins(array_CT)
        values_CT = self._unscaled(array_CT, origin_C)
        added_C = np.array([0.0 if self.preprocess else float(origin or 0) for origin in origin_C])
        return values_CT, added_C, tuple(names[channel] for channel in seen)

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

    def _read(self, raw: Any) -> tuple[np.ndarray, Axes | None]:
        """Return a raw value as numbers (C, T) of at most `length` steps, not yet scaled, and what names its axes."""
        array_CT, channels = decode_named(raw, self._layout_of(raw))
        known = self.axes.channels if self.axes is not None else ()
        if is_table(raw) and channels is not None and known and set(known) <= set(channels):
            array_CT, channels = array_CT[[channels.index(name) for name in known]], known  # of more columns
        axes = raw.axes if isinstance(raw, Series) else None if channels is None else Axes(channels)
        if axes is not None:
            self._check_axes(axes)
        array_CT = array_CT[:, : self.length]
        if (array_CT != array_CT).all():
            raise BadSample(f"every value of the first {self.length} steps is missing", "empty")
        return array_CT, axes

    def _read_of_train(self, raw: Any) -> tuple[np.ndarray, Axes | None]:
        """Return the same, and take the axes of the first series that knows them for those of all.

        With `channels: any` they are those of time alone.
        """
        array_CT, axes = self._read(raw)
        if self.axes is None and axes is not None and (axes.period is not None or not self.any_channels):
            self.axes = replace(axes, channels=()) if self.any_channels else axes
        return array_CT, axes

    def _check_axes(self, axes: Axes) -> None:
        """Raise BadSample when the axes of a series are not those that the modality was fitted to."""
        if self.axes is None:
            return
        if self.any_channels:
            known = axes.period is not None and self.axes.period is not None
            if known and (axes.unit != self.axes.unit or not np.isclose(axes.period, self.axes.period)):
                raise BadSample(
                    f"its time steps are {axes.period:g} {axes.unit} apart, and those of the train part "
                    f"{self.axes.period:g} {self.axes.unit}: resample it",
                    "unsupported",
                )
        elif axes.channels != self.axes.channels:
            raise BadSample(
                f"the channels of the series are {', '.join(axes.channels)[:80]}, not "
                f"{', '.join(self.axes.channels)[:80]}"
            )

    def collate(self, examples: Sequence[Any]) -> SignalBatch:
        """Pad examples, float32 (C, T_i) each, to the longest of them; with `channels: any`, to the most channels."""
        return ChannelSetBatch.pad(examples) if self.any_channels else SignalBatch.join(examples)

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
        if batch is None or not self.any_channels:
            return batch
        return ChannelSetBatch.of_signals(batch, index_names(batch.values.shape[1]))

    def random_batch(self, count: int, is_long: bool, rng: torch.Generator) -> SignalBatch:
        """Return series of noise, a value in twenty missing, the longest of 128 steps (or `length`) or of under half.

        With `channels: any` they have three channels.
        """
        most = min(self.length or 128, 128)
        steps = most if is_long else max(1, most // 2 - 3)
        channels = 3 if self.any_channels else self.fixed_channels("of random batches")
        examples = []
        for row in range(count):
            length = steps if row == 0 else int(torch.randint(max(1, steps // 2), steps + 1, (), generator=rng))
            values_CT = torch.randn(channels, length, generator=rng)
            missing_CT = torch.rand(channels, length, generator=rng) < 0.05
            examples.append(values_CT.masked_fill(missing_CT, torch.nan).numpy())
        if not self.any_channels:
            return self.collate(examples)
        names, levels_C2 = index_names(channels), np.zeros((channels, 2), np.float32)
        return self.collate([ChannelSeries(values_CT, names, levels_C2) for values_CT in examples])

    def fit(self, raws: Iterable[Any]) -> None:
        """Estimate the number of channels, and the center and scale of each, from the train part.

        Raises:
            DataError: when there is no series among the raw values, or they do not agree on the number of channels.
        """
        self.axes = None
        if self.any_channels:
            read = readable_examples(raws, self._read_of_train, "series")
            self._sets.fit(self._own_channels(array_CT, axes) for array_CT, axes in read)
            self._is_fitted = True
            return
        estimators: dict[int, ScaleEstimator] = {}
        origins_of: dict[int, list[int | None]] = {}
        counts: dict[int, int] = {}
        for array_CT, _ in readable_examples(raws, self._read_of_train, "series"):
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
        return self._notes_of_length(raws) + (self._sets.notes() if self.any_channels else self._notes_of_scale(raws))

    def _notes_of_length(self, raws: Sequence[Any]) -> list[str]:
        lengths = []
        for raw in raws if self.length is not None else ():
            with suppress(BadSample):
                self.decode(raw)
                lengths.append(decode(raw, self._layout_of(raw)).shape[1])
        cut = sum(length > (self.length or 0) for length in lengths)
        return [f"{cut} of {len(lengths)} series are cut at length: {self.length} steps"] if cut else []

    def _notes_of_scale(self, raws: Sequence[Any]) -> list[str]:
        assert self._center_C1 is not None
        steps, size_C, said = Steps(len(self._center_C1)), np.zeros(len(self._center_C1)), []
        for raw in raws:
            try:
                scaled_CT = self._scaled(self._read(raw)[0])
            except BadSample:
                continue
            steps.update(scaled_CT)
            size_C = np.maximum(size_C, np.nanmax(np.abs(scaled_CT), axis=1, initial=0.0))
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

    def _set_scale(self, center_C: np.ndarray, std_C: np.ndarray, origin_C: list[int] | None = None) -> None:
        self.channels, self._origin_C = len(center_C), origin_C
        self._center_C1, self._std_C1 = center_C[:, None], std_C[:, None]

    @property
    def is_fitted(self) -> bool:
        """Whether the channels and their scale were learned from the train part."""
        return self._is_fitted

    def state(self) -> dict[str, Any]:
        """Return center and scale of each channel, and its origin and name where it has any.

        With `channels: any`, the level of each name.
        """
        axes = {} if self.axes is None else {"axes": asdict(self.axes)}
        if self.any_channels:
            return {"levels": self._sets.state()} | axes if self._is_fitted else {}
        if self._center_C1 is None or self._std_C1 is None:
            return {}
        state = {"center": self._center_C1[:, 0].tolist(), "std": self._std_C1[:, 0].tolist()}
        if self._origin_C is not None and any(self._origin_C):
            state["origin"] = self._origin_C
        return state | axes

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        if not state:
            self._is_fitted = self._center_C1 is not None
            return
        if self.any_channels:
            self._sets.load_state(state["levels"])
        else:
            center_C, std_C = np.array(state["center"], np.float64), np.array(state["std"], np.float64)
            self._set_scale(center_C, std_C, state.get("origin"))
        if "axes" in state:
            self.axes = Axes(**state["axes"] | {"channels": tuple(state["axes"]["channels"])})
        self._is_fitted = True

    def describe(self, raw: Any, example: np.ndarray | ChannelSeries) -> dict[str, float | bool | str]:
        """Return time steps, channels and the fraction of missing values, and whether a longer series is truncated.

        With `channels: any`, which channel set it has too.
        """
        values_CT = example.values_CT if isinstance(example, ChannelSeries) else example
        channels, steps = values_CT.shape
        if steps == self.length:
            steps = decode(raw, self._layout_of(raw)).shape[1]
        missing = float(np.isnan(values_CT).mean())
        facts: dict[str, float | bool | str] = {"time steps": steps, "channels": channels, "missing fraction": missing}
        if self.length is not None:
            facts[f"cut at {self.length} steps"] = steps > self.length
        if isinstance(example, ChannelSeries):
            facts["channel set"] = channel_set(example.channels)
        return facts

    def content(self, raw: Any, example: np.ndarray | ChannelSeries) -> Any:
        """Return the series; with `channels: any`, each channel by its name, in any order."""
        if not isinstance(example, ChannelSeries):
            return example
        return dict(sorted(zip(example.channels, example.values_CT, strict=True), key=lambda pair: pair[0]))

    def preview(self, example: np.ndarray | ChannelSeries) -> Image.Image:
        """Plot an example, float32 (C, T), on 256 x 256 pixels, with its time axis; gaps are gray."""
        if isinstance(example, ChannelSeries):
            return self._plot(example.values_CT, {}, example.channels)
        return self._plot(example, {})

    def preview_views(self, batch: SignalBatch, views: Sequence[View]) -> list[list[Image.Image]]:
        """Plot the rows of views: above each where its crop lies in the whole series, masked steps dark gray."""
        return [
            [
                self._plot(row, of_own_channels(info, own_C), names)
                for (row, info), own_C, names in zip(
                    rows_with_info(view), view.batch.own_channels(), self._names_in(view.batch), strict=True
                )
            ]
            for view in views
        ]

    def _names_in(self, batch: Batch) -> list[tuple[str, ...] | None]:
        """Return the names of each row's channels, those that the train part lacks by their index."""
        if not isinstance(batch, ChannelSetBatch):
            return [None] * len(batch)
        known = self._sets.names
        rows = zip(batch.channel_ids.tolist(), batch.channel_mask.tolist(), strict=True)
        return [
            tuple(known.get(id, f"channel {i}") for i, (id, own) in enumerate(zip(*row, strict=True)) if own)
            for row in rows
        ]

    def _plot(
        self, example: np.ndarray, info: Mapping[str, np.ndarray], names: tuple[str, ...] | None = None
    ) -> Image.Image:
        axes = self.axes or Axes(())
        names = names or axes.channels or index_names(len(example))
        crop = tuple(info["crop"].tolist()) if "crop" in info else None
        unit = axes.unit if axes.period else "steps"
        time = TimeAxis(axes.period or 1.0, unit, crop, axes.start)  # type: ignore[arg-type]
        masked = info["masked steps"][..., : example.shape[1]] if "masked steps" in info else None
        return plot(example, names, time, masked)

    def examples(self, batch: SignalBatch) -> list[Any]:
        """Return the examples of a batch, float32 (C, T_i) each; with `channels: any` each a `ChannelSeries`."""
        rows, names = batch.unpad(), self._names_in(batch)
        if not isinstance(batch, ChannelSetBatch):
            return rows
        levels = zip(batch.levels.cpu().numpy(), batch.own_channels(), strict=True)
        return [
            ChannelSeries(row_CT, channels or (), level_C2[mask_C])
            for row_CT, channels, (level_C2, mask_C) in zip(rows, names, levels, strict=True)
        ]

    @property
    def descriptor_names(self) -> tuple[str, ...]:
        """24 statistics of each channel; of series of any channels, their mean and standard deviation over these."""
        if self.any_channels:
            return NAMES_OF_ANY
        assert self.channels is not None, "descriptors are known after fit"
        named = self.axes.channels if self.axes is not None and self.axes.channels else index_names(self.channels)
        return names_of_channels(named)

    def descriptors(self, example: np.ndarray | ChannelSeries) -> np.ndarray:
        """Return the descriptors of a scaled series, float32 (P,), nan where undefined."""
        if isinstance(example, ChannelSeries):
            return of_any_channels(example.values_CT)
        return of_channels(example)

    @property
    def baseline_description(self) -> str:
        """The option `baseline`, in words."""
        return DESCRIPTIONS[self.baseline] + ", pooled over channels" * self.any_channels

    def baseline_features(self, batch: SignalBatch) -> np.ndarray:
        """Return the features that the option `baseline` names, float32 (B, D)."""
        return baseline_features(batch, self.baseline)


def check_finite(scaled_CT: np.ndarray) -> None:
    """Raise BadSample when a scaled value is too large for single precision."""
    if np.isinf(scaled_CT).any():
        raise BadSample("a value is too large for single precision", "too-large")


def of_own_channels(info: Mapping[str, np.ndarray], own_C: np.ndarray) -> Mapping[str, np.ndarray]:
    """Return what a view tells of a row, its masked steps (C, T) without channels that are padding."""
    masked = info.get("masked steps")
    return info if masked is None or masked.ndim == 1 else {**info, "masked steps": masked[own_C]}
