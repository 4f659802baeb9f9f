"""The audio modality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from sensorium import BadSample, Modality
from sensorium.errors import RecipeError
from sensorium.modalities.audio.batch import LogMels
from sensorium.modalities.audio.decode import read_piece, resample, trimmed
from sensorium.modalities.audio.mels import FrontEnd
from sensorium.modalities.audio.spectrogram_image import spectrogram_image
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.fitting import readable_examples

LISTENED = 1000
"""From at most so many sounds of the train part, drawn at random, the scale of log-mels is learned."""


@dataclass(frozen=True)
class AudioClip:
    """A sound that is longer than a piece: the piece about its middle, and the raw value that holds the rest."""

    middle_CS: np.ndarray
    raw: Any


class AudioModality(Modality):
    """Sounds of any rate and length: files that libsndfile reads (WAV, FLAC, OGG, MP3 and more), and arrays.

    A raw value is a path, the bytes of a file, an array (S,) or (C, S) at the modality's own rate, or an array with its
    rate. A batch holds waveforms; most encoders and views turn them into log-mel spectrograms, on its device, by the
    options below. Scale and mean of the log-mels are those of the train part, fixed before the first step: the running
    statistics of BYOL-A (Niizumi et al. 2021, section III-A), which settle there after some epochs.

    Args:
        rate: samples a second that every sound is brought to.
        channels: 1 mixes all channels of a sound into one; of any other number a sound must have as many.
        seconds: the longest piece of a sound; of a longer one no more than a piece is read. None takes all of it.
        pieces: which piece of a longer sound is taken: its "middle", or in training a "random" one, another in every
            epoch, which excludes data.cache; evaluation takes the middle all the same.
        mels: F, bands of the spectrogram.
        window: milliseconds that one of its frames looks at.
        hop: milliseconds from frame to frame.
        low: where the lowest band starts, in Hz.
        high: where the highest band ends, in Hz; None is half the rate.
        level: "train" leaves log-mels where the train part's mean and deviation put them; "record" first takes from
            each band of a sound its mean over time, and with it most of what the microphone adds.
        trim: decibels below its loudest hundredth of a second at which the ends of a piece are silence, and cut off;
            30 is usual for speech. None leaves them.
    """

    reads_files = True

    def __init__(
        self,
        rate: int = 16000,
        channels: int = 1,
        seconds: float | None = 10.0,
        pieces: Literal["middle", "random"] = "middle",
        mels: int = 64,
        window: float = 25.0,
        hop: float = 10.0,
        low: float = 60.0,
        high: float | None = None,
        level: Literal["train", "record"] = "train",
        trim: float | None = None,
    ) -> None:
        if channels < 1:
            raise RecipeError(f"The modality 'audio' needs at least one channel, not {channels}.")
        if rate < 1000:
            raise RecipeError(f"The modality 'audio' needs a rate of at least 1000 samples a second, not {rate}.")
        if seconds is not None and seconds <= 0:
            raise RecipeError(f"The pieces of the modality 'audio' cannot be {seconds:g} seconds long.")
        if pieces == "random" and seconds is None:
            raise RecipeError("Random pieces of the modality 'audio' need a length: set seconds.")
        if trim is not None and trim <= 0:
            raise RecipeError(f"The modality 'audio' trims what is some decibels below the loudest, not {trim:g}.")
        self.trim = trim
        self.rate, self.channels, self.seconds, self.pieces = rate, channels, seconds, pieces
        self.mels, self.level = mels, level
        self.front = FrontEnd(rate, mels, window, hop, low, high)
        self._mean: float | None = None
        self._std: float | None = None

    def decode(self, raw: Any) -> np.ndarray | AudioClip:
        """Turn a raw value into samples float32 (C, S) at the modality's rate, full scale 1.

        With random pieces a sound longer than one becomes a `AudioClip`.

        Raises:
            BadSample: when the value is no sound, is empty or cut off, holds a sample that is no number, or has another
                number of channels.
        """
        piece = read_piece(raw, self.rate, self.seconds)
        samples_CS = self._own(piece.samples_CS, piece.rate)
        return AudioClip(samples_CS, raw) if self.pieces == "random" and piece.rest else samples_CS

    def piece(self, recording: AudioClip, place: float) -> np.ndarray:
        """Return another piece of a recording, float32 (C, S), from its start (0) to its end (1)."""
        piece = read_piece(recording.raw, self.rate, self.seconds, place)
        return self._own(piece.samples_CS, piece.rate)

    def _own(self, samples_CS: np.ndarray, rate: int) -> np.ndarray:
        """Return samples with the modality's channels, at its rate."""
        if self.channels == 1:
            samples_CS = samples_CS.mean(0, keepdims=True)
        if len(samples_CS) != self.channels:
            raise BadSample(f"the sound has {len(samples_CS)} channels, not {self.channels}")
        samples_CS = resample(samples_CS, rate, self.rate)
        return samples_CS if self.trim is None else trimmed(samples_CS, self.rate, self.trim)

    def collate(self, examples: Sequence[np.ndarray | AudioClip]) -> SignalBatch:
        """Pad examples, float32 (C, S_i) each, to the longest of them; of a recording its middle is taken."""
        return SignalBatch.join([e.middle_CS if isinstance(e, AudioClip) else e for e in examples])

    def log_mels(self, batch: SignalBatch) -> LogMels:
        """Return the scaled log-mel spectrograms (B, C x F, T) of a batch, or the batch if it holds such already."""
        if isinstance(batch, LogMels):
            return batch
        mels = self._levelled(batch)
        return mels.with_values((mels.values - self._mean) / self._std)

    def _levelled(self, batch: SignalBatch) -> LogMels:
        mels = self.front(batch.trim_padding())
        if self.level == "train":
            return mels
        mean_BG1 = mels.values.sum(2, keepdim=True) / mels.lengths[:, None, None]
        return mels.with_values(mels.values - mean_BG1)

    def fit(self, raws: Iterable[Any]) -> None:
        """Learn mean and deviation of log-mels from the train part alone, or from 1,000 sounds of it.

        Raises:
            DataError: when none of them can be read.
        """
        count, total, squares = 0, 0.0, 0.0
        for example in readable_examples(_some(raws, LISTENED), self.decode, "sound"):
            values_GT = self._levelled(self.collate([example])).values.double()
            count += values_GT.numel()
            total += float(values_GT.sum())
            squares += float(values_GT.square().sum())
        self._mean = total / count
        # Sounds that are all alike, such as silence, keep their unit.
        variance = squares / count - self._mean**2
        self._std = variance**0.5 if variance > 1e-9 else 1.0

    @property
    def is_fitted(self) -> bool:
        """Whether the scale of log-mels is known."""
        return self._mean is not None

    def state(self) -> dict[str, Any]:
        """Return mean and deviation of log-mels."""
        return {} if self._mean is None else {"mean": self._mean, "std": self._std}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore mean and deviation of log-mels."""
        if state:
            self._mean, self._std = float(state["mean"]), float(state["std"])

    def preview(self, example: np.ndarray | AudioClip) -> Image.Image:
        """Draw a sound, float32 (C, S), as its waveform over its log-mels; or log-mels (C x F, T), nan where hidden."""
        if isinstance(example, AudioClip):
            example = example.middle_CS
        if len(example) != self.channels:
            return spectrogram_image(None, example)
        (mels_GT,) = self.log_mels(SignalBatch.join([example])).unpad()
        return spectrogram_image(example, mels_GT)

    def examples(self, batch: SignalBatch) -> list[np.ndarray]:
        """Take a batch apart into samples (C, S_i), or log-mels (C x F, T_i) with nan where they are hidden."""
        return batch.unpad()

    def baseline_features(self, batch: SignalBatch) -> np.ndarray:
        """Return mean and deviation over time of each band of the log-mels, float32 (B, 2 x C x F)."""
        mels = self.log_mels(batch)
        x_BGT, count_BG = mels.values.double(), mels.observed.sum(2).clamp(min=1)
        mean_BG = x_BGT.sum(2) / count_BG
        apart_BGT = (x_BGT - mean_BG[..., None]).masked_fill(~mels.observed, 0.0)
        std_BG = (apart_BGT.square().sum(2) / count_BG).sqrt()
        return torch.cat([mean_BG, std_BG], dim=1).float().cpu().numpy()


def _some(raws: Iterable[Any], count: int) -> list[Any]:
    """Return `count` of the values, each as likely as any other, always the same of the same values (Vitter 1985)."""
    luck, kept = Random(0), []
    for number, raw in enumerate(raws):
        place = number if number < count else luck.randrange(number + 1)
        if number < count:
            kept.append(raw)
        elif place < count:
            kept[place] = raw
    return kept
