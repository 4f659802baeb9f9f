"""The registered view generators that change sounds."""

from __future__ import annotations

import torch

from sensorium import View, check_range
from sensorium.errors import RecipeError
from sensorium.modalities.audio.batch import LogMels
from sensorium.modalities.audio.modality import AudioModality
from sensorium.modalities.audio.views import spectra, waves
from sensorium.modalities.audio.views.random_pieces import Sounds
from sensorium.modalities.signal.batch import SignalBatch

KNOTS = 6
"""Values that an equalizer's curve goes through."""


class Waveform(Sounds):
    """Waveforms that are cut, moved, turned, louder or softer, and noisy, in the order of the options.

    For encoders that read waveforms; those of log-mels take them as well.

    Args:
        modality: the audio modality.
        views: how many views.
        crop: seconds of a random piece of each sound; None leaves it whole.
        shift: the largest share of its length by which a sound is moved; what leaves at one end enters at the other.
        polarity: probability that a sound is turned upside down.
        gain: the most by which it becomes louder or softer, in dB.
        noise: ratio of signal to white noise in dB, from and to; None adds none.
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
        _positive("waveform", crop)
        self.views, self.shift, self.polarity, self.gain = views, shift, polarity, gain
        self.noise = _range("waveform", "noise", noise)
        self.crop = crop and max(1, round(crop * modality.rate))

    def __call__(self, batch: SignalBatch, rng: torch.Generator) -> list[View]:
        """Return `views` views, each with its own draws."""
        batch = batch.trim_padding()
        return [View(self.one(batch, rng)) for _ in range(self.views)]

    def one(self, batch: SignalBatch, rng: torch.Generator) -> SignalBatch:
        """Return one view's batch."""
        if self.crop:
            batch = waves.random_crop(batch, self.crop, rng)
        if self.shift:
            batch = waves.time_shift(batch, self.shift, rng)
        if self.polarity:
            batch = waves.polarity(batch, self.polarity, rng)
        if self.gain:
            batch = waves.gain(batch, self.gain, rng)
        if self.noise:
            batch = waves.noise(batch, *self.noise, rng)
        return batch


class Spectrogram(Sounds):
    """Log-mel spectrograms that are cut, mixed, stretched, tilted and partly hidden, in the order of the options.

    With the defaults it is BYOL-A's chain (Niizumi et al. 2021 and 2022): a crop of about a second, the mix-up in the
    log domain, the resized crop, and the random linear fader. Levels are in deviations of the log-mels.

    Args:
        modality: the audio modality.
        views: how many views.
        noise: ratio of signal to white noise in dB, from and to, added before the spectrogram; None adds none.
        crop: seconds of a random piece of each sound; None leaves it whole.
        mix: the largest weight of another sound's power; 0 mixes nothing.
        canvas: height and width of the canvas that rectangles are cut from, in those of the spectrogram.
        frequency: height of a rectangle, from and to; what is cut out is stretched to all bands, which moves the pitch
            and the vocal tract. Both 1, on a canvas of 1, leave it.
        time: its width, from and to; likewise the speed.
        fader: the most by which a line raises or lowers the level at either end; 0 leaves it.
        equalizer: deviation of a curve along frequency that is added to the level; 0 adds none.
        bands: the largest share of the bands that is hidden; 0 hides none.
        frames: the largest share of the frames that is hidden; 0 hides none.
    """

    views = 2

    def __init__(
        self,
        modality: AudioModality,
        views: int = 2,
        noise: tuple[float, float] | None = None,
        crop: float | None = 0.95,
        mix: float = 0.4,
        canvas: tuple[float, float] = (1.0, 1.5),
        frequency: tuple[float, float] = (0.6, 1.5),
        time: tuple[float, float] = (0.6, 1.5),
        fader: float = 1.0,
        equalizer: float = 0.0,
        bands: float = 0.0,
        frames: float = 0.0,
    ) -> None:
        super().__init__(modality)
        check_range("views 'spectrogram'", "[1, inf)", views=views)
        check_range("views 'spectrogram'", "[0, 0.99]", mix=mix, bands=bands, frames=frames)
        check_range("views 'spectrogram'", "[0, inf)", fader=fader, equalizer=equalizer)
        _positive("spectrogram", crop)
        if min(canvas) < 1:
            raise RecipeError(f"The option 'canvas' of the views 'spectrogram' is at least 1 both ways, not {canvas}.")
        if min(*frequency, *time) <= 0:
            raise RecipeError("The options 'frequency' and 'time' of the views 'spectrogram' must be above 0.")
        self.views, self.mix, self.fader, self.equalizer = views, mix, fader, equalizer
        self.bands, self.frames, self.canvas = bands, frames, canvas
        self.noise = _range("spectrogram", "noise", noise)
        self.frequency = _range("spectrogram", "frequency", frequency)
        self.time = _range("spectrogram", "time", time)
        self.crop = crop and max(1, round(crop * modality.rate / modality.front.hop))
        self.resizes = (canvas, frequency, time) != ((1.0, 1.0),) * 3

    def __call__(self, batch: SignalBatch, rng: torch.Generator) -> list[View]:
        """Return `views` views, each with its own draws."""
        batch = (
            batch.trim_padding() if self.noise else self.modality.log_mels(batch)
        )  # which are then made once for all
        return [View(self.one(batch, rng)) for _ in range(self.views)]

    def one(self, batch: SignalBatch, rng: torch.Generator) -> LogMels:
        """Return one view's batch."""
        if self.noise:
            batch = waves.noise(batch, *self.noise, rng)
        mels = self.modality.log_mels(batch)
        bands = self.modality.mels
        if self.crop:
            mels = waves.random_crop(mels, self.crop, rng)
        if self.mix:
            mels = spectra.mix(mels, self.mix, rng)
        if self.resizes:
            mels = spectra.resized_crop(mels, bands, self.canvas, self.frequency, self.time, rng)
        if self.fader:
            mels = spectra.fader(mels, self.fader, rng)
        if self.equalizer:
            mels = spectra.equalize(mels, bands, self.equalizer, KNOTS, rng)
        if self.bands:
            mels = spectra.mask_bands(mels, bands, self.bands, rng)
        if self.frames:
            mels = spectra.mask_frames(mels, self.frames, rng)
        return mels


def _positive(name: str, crop: float | None) -> None:
    if crop is not None and crop <= 0:
        raise RecipeError(
            f"The option 'crop' of the views '{name}' is a number of seconds above 0, or none; not {crop:g}."
        )


def _range(name: str, option: str, given: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return a range whose first number is not above its second."""
    if given is not None and given[0] > given[1]:
        raise RecipeError(f"The option '{option}' of the views '{name}' goes from low to high, not {list(given)}.")
    return given
