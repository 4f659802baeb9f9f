"""Views of spectra: the disturbances of a measurement, which do not move or reshape bands.

Letters: B spectra, C channels, T wavelengths.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium import View, ViewGenerator, check_range
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.time_axis import resample
from sensorium.modalities.timeseries.modality import TimeSeriesModality
from sensorium.modalities.timeseries.views.amplitude import jitter, scaling
from sensorium.modalities.timeseries.views.curves import relative_time


class Spectra(ViewGenerator):
    """Spectra with a shifted and tilted baseline, another scale, noise and a small wavelength shift, in this order.

    Offset, slope and scale are those of Bjerrum et al. 2017 (data augmentation of spectral data), shift and noise those
    of an instrument. Every spectrum has its own draws, which its channels share except for noise. Strengths are in
    units of the scaled data. With `preprocess: [snv]` or a derivative, which remove baselines before views are made,
    they may be larger or off.

    Args:
        views: number of views, >= 1.
        offset: standard deviation of the shift of the baseline, >= 0; 0 is off.
        slope: standard deviation of the tilt of the baseline, from its middle to either end, >= 0; 0 is off.
        scaling: standard deviation of the factor around 1 of a whole spectrum, >= 0; 0 is off.
        noise: standard deviation of the noise on every value, >= 0; 0 is off.
        shift: largest wavelength shift in steps, a fraction of a step too, >= 0; 0 is off.
    """

    views = 2

    def __init__(
        self,
        modality: TimeSeriesModality,
        views: int = 2,
        offset: float = 0.1,
        slope: float = 0.1,
        scaling: float = 0.1,
        noise: float = 0.02,
        shift: float = 1.0,
    ) -> None:
        check_range("views 'spectra'", "[1, inf)", views=views)
        check_range(
            "views 'spectra'", "[0, inf)", offset=offset, slope=slope, scaling=scaling, noise=noise, shift=shift
        )
        self.views, self.offset, self.slope, self.scaling = views, offset, slope, scaling
        self.noise, self.shift = noise, shift

    def __call__(self, batch: SignalBatch, rng: torch.Generator) -> list[View]:
        """Return `views` views, each with its own draws."""
        return [View(self.one(batch, rng)) for _ in range(self.views)]

    def one(self, batch: SignalBatch, rng: torch.Generator) -> SignalBatch:
        """Return the batch of one view."""
        if self.offset or self.slope:
            batch = tilt_baseline(batch, self.offset, self.slope, rng)
        if self.scaling:
            batch = scaling(batch, 1.0, self.scaling, "series", rng)
        if self.noise:
            batch = jitter(batch, self.noise, rng)
        if self.shift:
            batch = shift_wavelengths(batch, self.shift, rng)
        return batch


def tilt_baseline(batch: SignalBatch, offset: float, slope: float, rng: torch.Generator) -> SignalBatch:
    """Add a line to each spectrum: N(0, offset) in its middle, N(0, slope) more at its end and less at its start."""
    draw_2B1 = torch.randn(2, len(batch), 1, generator=rng, device=batch.device)
    line_BT = offset * draw_2B1[0] + slope * draw_2B1[1] * (2 * relative_time(batch) - 1)
    return batch.with_values(batch.values + line_BT[:, None])


def shift_wavelengths(batch: SignalBatch, steps: float, rng: torch.Generator) -> SignalBatch:
    """Shift each spectrum by U(-steps, steps) steps, by linear interpolation; its ends are repeated."""
    draw_B1: Tensor = 2 * torch.rand(len(batch), 1, generator=rng, device=batch.device, dtype=torch.float64) - 1
    times_BT = torch.arange(batch.values.shape[2], device=batch.device) + steps * draw_B1
    last_B1 = (batch.lengths - 1)[:, None]
    return resample(batch, times_BT.clamp(min=0).minimum(last_B1), batch.lengths, batch.host_lengths)
