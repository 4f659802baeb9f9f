"""View generators that chain augmentations."""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium import View, ViewGenerator, check_range
from sensorium.errors import RecipeError
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.timeseries.modality import TimeSeriesModality
from sensorium.modalities.timeseries.views.amplitude import jitter, magnitude_warp, mask_frequencies, mixup, scaling
from sensorium.modalities.timeseries.views.masking import drop_channels, mask_steps
from sensorium.modalities.timeseries.views.warps import permute, slice_window, time_warp


class WeakStrong(ViewGenerator):
    """Weak and strong augmentation of TS-TCC: scaling, and permutation with jitter (Eldele et al. 2021, section 3.1).

    The paper's settings, by data set: `scaling` and `jitter` .001 to 2, `segments` 5 to 12.

    Args:
        scaling: weak view: standard deviation of the factors around 2, one for each time step, >= 0.
        jitter: strong view: standard deviation of the noise, >= 0.
        segments: strong view: maximum number of segments of the permutation, >= 1.
    """

    views = 2

    def __init__(
        self, modality: TimeSeriesModality, scaling: float = 1.1, jitter: float = 0.8, segments: int = 8
    ) -> None:
        check_range("views 'weak-strong'", "[0, inf)", scaling=scaling, jitter=jitter)
        check_range("views 'weak-strong'", "[1, inf)", segments=segments)
        self.scaling, self.jitter, self.segments = scaling, jitter, segments

    def __call__(self, batch: SignalBatch, rng: torch.Generator) -> list[View]:
        """Return the weak view and the strong one."""
        weak = scaling(batch, 2.0, self.scaling, "step", rng)
        strong = jitter(permute(batch, self.segments, rng), self.jitter, rng)
        return [View(weak), View(strong)]


class Augment(ViewGenerator):
    """Mixup, window slicing, time warping, permutation, magnitude warping, scaling, jitter and masking, in this order.

    The defaults are window slicing (Le Guennec et al. 2016), time and magnitude warping, scaling and jitter (Um et al.
    2017). Every series has its own draws, which all of its channels share except for jitter. Strengths are in units of
    the scaled data.

    Args:
        views: number of views, >= 1.
        window_slice: minimum fraction of a series that is cropped and stretched to its length, 0 to 1; 1 is off.
        time_warp: standard deviation of the speed of time around 1, >= 0; 0 is off.
        segments: maximum number of segments of the permutation, >= 1; 1 is off.
        magnitude_warp: standard deviation of the smooth curve around 1 that values are multiplied by; 0 is off.
        knots: number of knots of the curves of both warps, >= 2.
        scaling: standard deviation of the factor around 1 of a whole series, >= 0; 0 is off.
        jitter: standard deviation of the noise on every value, >= 0; 0 is off.
        frequency_mask: maximum fraction of the spectrum that is masked as one band, 0 to 1; 0 is off.
        channel_dropout: probability that a channel is masked, 0 to 1; one always stays.
        mask_ratio: fraction of the time steps that is masked, in all channels; 0 is off.
        span: mean length of masked spans, >= 1; 1 masks each time step independently.
        mixup: maximum weight of another series of the batch that is blended in, 0 to 1; 0 is off.
    """

    views = 2

    def __init__(
        self,
        modality: TimeSeriesModality,
        views: int = 2,
        window_slice: float = 0.8,
        time_warp: float = 0.2,
        segments: int = 1,
        magnitude_warp: float = 0.2,
        knots: int = 6,
        scaling: float = 0.1,
        jitter: float = 0.05,
        frequency_mask: float = 0.0,
        channel_dropout: float = 0.0,
        mask_ratio: float = 0.0,
        span: float = 3.0,
        mixup: float = 0.0,
    ) -> None:
        owner = "views 'augment'"
        check_range(owner, "[0, inf)", time_warp=time_warp, magnitude_warp=magnitude_warp)
        check_range(owner, "[0, inf)", scaling=scaling, jitter=jitter)
        check_range(owner, "[0, 1]", window_slice=window_slice, mixup=mixup)
        check_range(owner, "[0, 1]", frequency_mask=frequency_mask, channel_dropout=channel_dropout)
        check_range(owner, "[0, 0.99]", mask_ratio=mask_ratio)
        check_range(owner, "[1, inf)", views=views, segments=segments, span=span)
        check_range(owner, "[2, inf)", knots=knots)
        if mixup and modality.any_channels:
            raise RecipeError(
                "The option mixup of the views 'augment' blends series channel by channel, and with channels: any the "
                "channels of two series are different ones: set mixup to 0."
            )
        self.views, self.window_slice, self.time_warp, self.segments = views, window_slice, time_warp, segments
        self.magnitude_warp, self.knots, self.scaling, self.jitter = magnitude_warp, knots, scaling, jitter
        self.frequency_mask, self.channel_dropout = frequency_mask, channel_dropout
        self.mask_ratio, self.span, self.mixup = mask_ratio, span, mixup

    def __call__(self, batch: SignalBatch, rng: torch.Generator) -> list[View]:
        """Return `views` views, each with its own draws."""
        return [self.augment(batch, rng) for _ in range(self.views)]

    def augment(self, batch: SignalBatch, rng: torch.Generator) -> View:
        """Return one view."""
        info: dict[str, Tensor] = {}
        if self.mixup:
            batch = mixup(batch, self.mixup, rng)
        if self.window_slice < 1:
            batch, info["crop"] = slice_window(batch, self.window_slice, rng)
        if self.time_warp:
            batch = time_warp(batch, self.time_warp, self.knots, rng)
        if self.segments > 1:
            batch = permute(batch, self.segments, rng)
        if self.magnitude_warp:
            batch = magnitude_warp(batch, self.magnitude_warp, self.knots, rng)
        if self.scaling:
            batch = scaling(batch, 1.0, self.scaling, "series", rng)
        if self.jitter:
            batch = jitter(batch, self.jitter, rng)
        if self.frequency_mask:
            batch = mask_frequencies(batch, self.frequency_mask, rng)
        if self.channel_dropout:
            batch = drop_channels(batch, self.channel_dropout, rng)
        if self.mask_ratio:
            batch = mask_steps(batch, self.mask_ratio, self.span, rng)
        return View(batch, info=info)
