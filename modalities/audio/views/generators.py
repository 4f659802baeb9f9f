"""View generators of waveforms and of log-mel spectrograms."""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium import View, check_range
from sensorium.errors import RecipeError
from sensorium.modalities.audio.modality import AudioModality
from sensorium.modalities.audio.views import spectrogram_transforms, waveform_transforms
from sensorium.modalities.audio.views.random_segments import AudioViews
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.time_axis import crop_place

KNOTS = 6
"""Knots of the piecewise linear curve of the random equalizer."""


class WaveformViews(AudioViews):
    """Waveforms with random crop, time shift, polarity inversion, gain and white noise, in this order.

    For encoders of waveforms; encoders of log-mels accept them as well.

    Args:
        modality: the audio modality.
        views: number of views.
        crop: length of the random crop in seconds, > 0; None does not crop.
        shift: largest circular time shift, as a fraction of the length, in [0, 1].
        polarity: probability of polarity inversion.
        gain: largest gain or attenuation in dB, >= 0.
        noise: range of the signal-to-noise ratio of white noise in dB; None adds none.
    """

    views = 2

    def __init__(
        self,
        modality: AudioModality,
        views: int = 2,
        crop: float | None = 1.0,
        shift: float = 0.0,
        polarity: float = 0.5,
        gain: float = 6.0,
        noise: tuple[float, float] | None = (5.0, 30.0),
    ) -> None:
        super().__init__(modality)
        check_range("views 'waveform'", "[1, inf)", views=views)
        check_range("views 'waveform'", "[0, 1]", shift=shift, polarity=polarity)
        check_range("views 'waveform'", "[0, inf)", gain=gain)
        check_range("views 'waveform'", "(0, inf)", crop=crop)
        self.views, self.shift, self.polarity, self.gain = views, shift, polarity, gain
        self.noise = _checked_interval("waveform", "noise", noise)
        self.crop = crop and max(1, round(crop * modality.sample_rate))

    def __call__(self, batch: SignalBatch, rng: torch.Generator) -> list[View]:
        """Return `views` views, each with its own draws."""
        batch = batch.trim_padding()
        return [self.one(batch, rng) for _ in range(self.views)]

    def one(self, batch: SignalBatch, rng: torch.Generator) -> View:
        """Return one view."""
        info: dict[str, Tensor] = {}
        if self.crop:
            batch, info["crop"] = waveform_transforms.random_crop(batch, self.crop, rng)
        if self.shift:
            batch = waveform_transforms.time_shift(batch, self.shift, rng)
        if self.polarity:
            batch = waveform_transforms.invert_polarity(batch, self.polarity, rng)
        if self.gain:
            batch = waveform_transforms.random_gain(batch, self.gain, rng)
        if self.noise:
            batch = waveform_transforms.add_noise(batch, *self.noise, rng)
        return View(batch, info=info)


class SpectrogramViews(AudioViews):
    """Log-mel spectrograms with mixup, random resize crop and random linear fader, as in BYOL-A (Niizumi et al. 2021).

    The options are applied in their order; those that are off by default are noise, a random equalizer and SpecAugment
    masks. The linear fader is that of Niizumi et al. 2022. Levels are in standard deviations of the log-mels.

    Args:
        modality: the audio modality.
        views: number of views.
        noise: range of the signal-to-noise ratio of white noise in dB, added to the waveform; None adds none.
        crop: length of the random crop in seconds, > 0; None does not crop.
        mixup_ratio: largest weight of the other clip's power in the mixup, in [0, 1); 0 is off.
        virtual_crop_scale: height and width of the virtual crop boundary, relative to the spectrogram, >= 1.
        freq_scale: range of the crop's height, relative to the spectrogram, > 0. With [1, 1] for this and `time_scale`,
            and a `virtual_crop_scale` of [1, 1], there is no resize crop.
        time_scale: range of the crop's width, likewise.
        fader_gain: largest gain of the random linear fader at either end, >= 0; 0 is off.
        equalizer: standard deviation of the random equalizer's gain over frequency, >= 0; 0 is off.
        freq_mask: largest fraction of bands in the frequency mask (SpecAugment), in [0, 1); 0 is off.
        time_mask: largest fraction of frames in the time mask (SpecAugment), in [0, 1); 0 is off.
    """

    views = 2

    def __init__(
        self,
        modality: AudioModality,
        views: int = 2,
        noise: tuple[float, float] | None = None,
        crop: float | None = 0.95,
        mixup_ratio: float = 0.4,
        virtual_crop_scale: tuple[float, float] = (1.0, 1.5),
        freq_scale: tuple[float, float] = (0.6, 1.5),
        time_scale: tuple[float, float] = (0.6, 1.5),
        fader_gain: float = 1.0,
        equalizer: float = 0.0,
        freq_mask: float = 0.0,
        time_mask: float = 0.0,
    ) -> None:
        super().__init__(modality)
        name = "views 'spectrogram'"
        check_range(name, "[1, inf)", views=views)
        check_range(name, "[0, 0.99]", mixup_ratio=mixup_ratio, freq_mask=freq_mask, time_mask=time_mask)
        check_range(name, "[0, inf)", fader_gain=fader_gain, equalizer=equalizer)
        check_range(name, "[1, inf)", virtual_crop_scale=virtual_crop_scale)
        check_range(name, "(0, inf)", crop=crop, freq_scale=freq_scale, time_scale=time_scale)
        self.views, self.mixup_ratio, self.fader_gain, self.equalizer = views, mixup_ratio, fader_gain, equalizer
        self.freq_mask, self.time_mask, self.virtual_crop_scale = freq_mask, time_mask, virtual_crop_scale
        self.noise = _checked_interval("spectrogram", "noise", noise)
        self.freq_scale = _checked_interval("spectrogram", "freq_scale", freq_scale)
        self.time_scale = _checked_interval("spectrogram", "time_scale", time_scale)
        self.crop = crop and max(1, round(crop * modality.sample_rate / modality.front_end.hop))
        self.resizes = (virtual_crop_scale, freq_scale, time_scale) != ((1.0, 1.0),) * 3

    def __call__(self, batch: SignalBatch, rng: torch.Generator) -> list[View]:
        """Return `views` views, each with its own draws."""
        # Without noise, all views share one spectrogram.
        batch = batch.trim_padding() if self.noise else self.modality.log_mels(batch)
        return [self.one(batch, rng) for _ in range(self.views)]

    def one(self, batch: SignalBatch, rng: torch.Generator) -> View:
        """Return one view."""
        info: dict[str, Tensor] = {}
        if self.noise:
            batch = waveform_transforms.add_noise(batch, *self.noise, rng)
        mels = self.modality.log_mels(batch)
        n_mels = self.modality.n_mels
        if self.crop:
            mels, info["crop"] = waveform_transforms.random_crop(mels, self.crop, rng)
        if self.mixup_ratio:
            mels = spectrogram_transforms.mixup(mels, self.mixup_ratio, rng)
        if self.resizes:
            mels, info["bands"], times_B2 = spectrogram_transforms.random_resize_crop(
                mels, n_mels, self.virtual_crop_scale, self.freq_scale, self.time_scale, rng
            )
            whole_B3 = info.get("crop", crop_place(torch.zeros_like(mels.lengths), mels.lengths, mels.lengths))
            info["crop"] = torch.cat([whole_B3[:, :1] + times_B2[:, :1], times_B2[:, 1:], whole_B3[:, 2:]], dim=1)
        if self.fader_gain:
            mels = spectrogram_transforms.random_linear_fader(mels, self.fader_gain, rng)
        if self.equalizer:
            mels = spectrogram_transforms.random_equalizer(mels, n_mels, self.equalizer, KNOTS, rng)
        if self.freq_mask:
            mels = spectrogram_transforms.frequency_mask(mels, n_mels, self.freq_mask, rng)
        if self.time_mask:
            mels = spectrogram_transforms.time_mask(mels, self.time_mask, rng)
        return View(mels, info=info)


def _checked_interval(name: str, option: str, given: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return an interval whose first number is not above its second."""
    if given is not None and given[0] > given[1]:
        raise RecipeError(f"The option '{option}' of the views '{name}' is an interval [low, high], not {list(given)}.")
    return given
