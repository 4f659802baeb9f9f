"""The registered view generators of series."""

from __future__ import annotations

import torch

from sensorium import View, ViewGenerator, check_range
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.timeseries.modality import TimeSeriesModality
from sensorium.modalities.timeseries.views.amplitude import jitter, magnitude_warp, mask_frequencies, mix, scaling
from sensorium.modalities.timeseries.views.masking import drop_channels, hidden_steps, hide_steps
from sensorium.modalities.timeseries.views.warps import permute, slice_window, time_warp


class WeakStrong(ViewGenerator):
    """A weak and a strong view (TS-TCC, Eldele et al. 2021, section 3.1).

    The weak one multiplies every step by a factor of its own around 2; the strong one shuffles pieces of the series
    and adds noise. The paper's settings: .001 to 2, .001 to 2 and 5 to 12 segments, by data set.

    Args:
        scaling: deviation of the weak view's factors.
        jitter: deviation of the strong view's noise.
        segments: the most pieces that the strong view shuffles.
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
    """Views that are cut, warped, scaled, made noisy and partly hidden, in the order of the options;
    what is blended in comes first.

    Every series has its own draws, shared by all of its channels but for noise. Strengths are in units of the scaled
    data.

    Args:
        views: how many views.
        window: the least share of a series that is cut out and stretched to its length; 1 leaves it whole.
        time_warp: deviation of the speed at which time runs; 0 leaves it even.
        segments: the most pieces that a series is cut into and shuffled; 1 leaves it in order.
        magnitude_warp: deviation of a smooth curve around 1 that values are multiplied with; 0 leaves them.
        knots: values that the curves of both warps go through, the first and the last step included.
        scaling: deviation of the factor around 1 of a whole series; 0 leaves it.
        jitter: deviation of the noise on every value; 0 adds none.
        frequencies: the largest share of the spectrum that is taken out as one band; 0 leaves it.
        channels: probability that a channel is hidden; one always stays.
        hide: share of the steps that are hidden, in all channels.
        run: mean length of hidden runs; 1 hides each step by itself.
        mix: the largest weight with which another series of the batch is blended in; 0 leaves series alone.
    """

    views = 2

    def __init__(
        self,
        modality: TimeSeriesModality,
        views: int = 2,
        window: float = 0.8,
        time_warp: float = 0.2,
        segments: int = 1,
        magnitude_warp: float = 0.2,
        knots: int = 6,
        scaling: float = 0.1,
        jitter: float = 0.05,
        frequencies: float = 0.0,
        channels: float = 0.0,
        hide: float = 0.0,
        run: float = 3.0,
        mix: float = 0.0,
    ) -> None:
        check_range(
            "views 'augment'",
            "[0, inf)",
            time_warp=time_warp,
            magnitude_warp=magnitude_warp,
            scaling=scaling,
            jitter=jitter,
        )
        check_range("views 'augment'", "[0, 1]", window=window, frequencies=frequencies, channels=channels, mix=mix)
        check_range("views 'augment'", "[0, 0.99]", hide=hide)
        check_range("views 'augment'", "[1, inf)", views=views, segments=segments, run=run)
        check_range("views 'augment'", "[2, inf)", knots=knots)
        self.views, self.window, self.time_warp, self.segments = views, window, time_warp, segments
        self.magnitude_warp, self.knots, self.scaling, self.jitter = magnitude_warp, knots, scaling, jitter
        self.frequencies, self.channels, self.hide, self.run = frequencies, channels, hide, run
        self.mix = mix

    def __call__(self, batch: SignalBatch, rng: torch.Generator) -> list[View]:
        """Return `views` views, each with its own draws."""
        return [View(self.one(batch, rng)) for _ in range(self.views)]

    def one(self, batch: SignalBatch, rng: torch.Generator) -> SignalBatch:
        """Return one view's batch."""
        if self.mix:
            batch = mix(batch, self.mix, rng)
        if self.window < 1:
            batch = slice_window(batch, self.window, rng)
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
        if self.frequencies:
            batch = mask_frequencies(batch, self.frequencies, rng)
        if self.channels:
            batch = drop_channels(batch, self.channels, rng)
        if self.hide:
            batch = hide_steps(batch, self.hide, self.run, rng)
        return batch


class HiddenPatches(ViewGenerator):
    """One view, the series itself, that says which of its patches a masked objective is to hide: runs of them.

    Runs cannot be filled in from their neighbors alone (Zerveas et al. 2021, section 3.2). The view carries
    `info["masked"]`, bool (B, patches): True where the patch is masked, in all channels. Of a series with at least two
    patches, one is masked and one stays.

    Args:
        patch: steps of a patch, that of the encoder.
        hide: share of the patches that are hidden.
        run: mean number of patches in a hidden run; 1 hides each by itself.
    """

    info = ("masked",)

    def __init__(self, modality: TimeSeriesModality, patch: int = 8, hide: float = 0.5, run: float = 3.0) -> None:
        check_range("views 'hidden-patches'", "[1, inf)", patch=patch, run=run)
        check_range("views 'hidden-patches'", "[0.01, 0.99]", hide=hide)
        self.patch, self.hide, self.run = patch, hide, run

    def __call__(self, batch: SignalBatch, rng: torch.Generator) -> list[View]:
        """Return the series with its mask."""
        real_BT = batch.valid[:, :: self.patch]
        away_BT = hidden_steps(real_BT, self.hide, self.run, rng) & real_BT
        luck_BT = torch.rand(real_BT.shape, generator=rng, device=batch.device).masked_fill(~real_BT, -1.0)
        one_BT = luck_BT == luck_BT.amax(1, keepdim=True)
        away_BT |= one_BT & ~away_BT.any(1, keepdim=True)
        away_BT &= ~(one_BT & (away_BT == real_BT).all(1, keepdim=True))
        return [View(batch, info={"masked": away_BT})]
