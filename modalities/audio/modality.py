"""The audio modality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from sensorium import BadSample, Modality, View, check_range
from sensorium.errors import RecipeError
from sensorium.modalities.audio.batch import LogMelBatch
from sensorium.modalities.audio.decode import Position, Segment, read_segment, resample, trim_silence
from sensorium.modalities.audio.facts import audio_facts
from sensorium.modalities.audio.mels import LogMelSpectrogram
from sensorium.modalities.audio.spectrogram_image import MelAxes, spectrogram_image
from sensorium.modalities.signal.batch import SignalBatch, check_axes, rows_with_info
from sensorium.modalities.signal.fitting import readable_examples
from sensorium.modalities.signal.plot import TimeAxis

EXTENSIONS = (".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".snd", ".w64", ".wav")
Piece = Literal["start", "middle", "random", "onset"]
POSITIONS: dict[Piece, Position] = {"start": 0.0, "middle": 0.5, "random": 0.5, "onset": "onset"}
"""Where a piece lies in a longer clip; a random one is read again by `read_segment`."""


@dataclass(frozen=True)
class AudioClip:
    """A clip that is longer than a segment: its center segment, and the raw value to read others from."""

    center_CS: np.ndarray
    raw: Any


class AudioModality(Modality):
    """Audio: files that libsndfile reads (WAV, FLAC, OGG, MP3 and more), and arrays, of any sample rate and length.

    A raw value is a path, the bytes of a file, an array (S,) or (C, S) at the modality's own sample rate, a pair of an
    array and its rate, or a mapping with "array" and "sampling_rate" (Hugging Face datasets). A batch has waveforms;
    most encoders and views turn them into log-mel spectrograms, on its device, by the options below. Log-mels are
    normalized by mean and standard deviation of the train part, fixed before the first step: the running statistics of
    BYOL-A (Niizumi et al. 2021, section III-A) converge to these.

    Args:
        sample_rate: sample rate in Hz that clips are resampled to.
        channels: 1 mixes all channels to mono; for any other number, clips must have that many.
        seconds: largest length of a segment; of a longer clip only one segment is read. None reads the whole clip.
        piece: which part of a longer clip is read: its "start", its "middle", the part from its "onset" on (50 ms
            before the first sound within 20 dB of the loudest 10 ms; the whole clip is read to find it), or in training
            a "random" one for each clip and epoch, which excludes data.cache; evaluation then takes the middle.
        damaged: "skip" makes a file that is cut (its header promises more than is there) unreadable, "keep" reads what
            is there.
        n_mels: F, number of mel bands, >= 2.
        window: length of the Hann window in ms.
        hop: hop length in ms.
        f_min: lowest frequency of the mel bands in Hz.
        f_max: highest frequency in Hz; None is half the sample rate.
        normalize: "train" normalizes log-mels by statistics of the train part; "record" subtracts the mean over time of
            each band of a clip first (cepstral mean normalization), which removes most of the channel's response.
        trim: threshold for trimming silence at both ends, in dB below the loudest 10 ms; 30 is usual for speech. None
            does not trim.
    """

    reads_files, preview_cell, fits = True, 256, 1_000

    def __init__(
        self,
        sample_rate: int = 16000,
        channels: int = 1,
        seconds: float | None = 10.0,
        piece: Piece = "middle",
        damaged: Literal["skip", "keep"] = "skip",
        n_mels: int = 64,
        window: float = 25.0,
        hop: float = 10.0,
        f_min: float = 60.0,
        f_max: float | None = None,
        normalize: Literal["train", "record"] = "train",
        trim: float | None = None,
    ) -> None:
        check_range("modality 'audio'", "[1, inf)", channels=channels)
        check_range("modality 'audio'", "[1000, inf)", sample_rate=sample_rate)
        check_range("modality 'audio'", "(0, inf)", seconds=seconds, trim=trim)
        if piece != "middle" and seconds is None:
            raise RecipeError(f"The option piece: {piece} of the modality 'audio' needs a length: set seconds.")
        self.trim = trim
        self.sample_rate, self.channels, self.seconds, self.piece = sample_rate, channels, seconds, piece
        self.keeps_damaged = damaged == "keep"
        self.n_mels, self.normalize = n_mels, normalize
        self.front_end = LogMelSpectrogram(sample_rate, n_mels, window, hop, f_min, f_max)
        self._mean: float | None = None
        self._std: float | None = None

    @property
    def extensions(self) -> tuple[str, ...]:
        """The usual extensions of the formats that libsndfile reads."""
        return EXTENSIONS

    def decode(self, raw: Any) -> np.ndarray | AudioClip:
        """Decode a raw value to samples, float32 (C, S), at the modality's sample rate; full scale is 1.

        With a random piece, a clip longer than one becomes an `AudioClip`.

        Raises:
            BadSample: when the value is not audio, is empty, is a damaged file and not kept, has a non-finite sample or
                another number of channels.
        """
        segment = self._segment(raw, POSITIONS[self.piece])
        samples_CS = self._convert(segment.samples_CS, segment.rate)
        return AudioClip(samples_CS, raw) if self.piece == "random" and segment.rest else samples_CS

    def encode(self, example: np.ndarray | AudioClip) -> tuple[np.ndarray, int]:
        """Return samples and their rate; of an `AudioClip` the whole clip at its own rate, of which pieces are read."""
        if not isinstance(example, AudioClip):
            return example, self.sample_rate
        whole = read_segment(example.raw, self.sample_rate, None, POSITIONS[self.piece], self.keeps_damaged)
        return self._mixed(whole.samples_CS), whole.rate

    def _segment(self, raw: Any, position: Position) -> Segment:
        return read_segment(raw, self.sample_rate, self.seconds, position, self.keeps_damaged)

    def read_segment(self, clip: AudioClip, position: float) -> np.ndarray:
        """Read another segment of a clip, float32 (C, S), at a position from its start (0) to its end (1)."""
        segment = self._segment(clip.raw, position)
        return self._convert(segment.samples_CS, segment.rate)

    def _convert(self, samples_CS: np.ndarray, rate: int) -> np.ndarray:
        """Convert samples to the modality's channels and sample rate, and trim silence."""
        samples_CS = resample(self._mixed(samples_CS), rate, self.sample_rate)
        return samples_CS if self.trim is None else trim_silence(samples_CS, self.sample_rate, self.trim)

    def _mixed(self, samples_CS: np.ndarray) -> np.ndarray:
        """Convert samples to the modality's channels."""
        if self.channels == 1:
            samples_CS = samples_CS.mean(0, keepdims=True)
        if len(samples_CS) != self.channels:
            raise BadSample(f"the audio has {len(samples_CS)} channels, not {self.channels}", "unsupported")
        return samples_CS

    def collate(self, examples: Sequence[np.ndarray | AudioClip]) -> SignalBatch:
        """Pad examples, float32 (C, S_i) each, to the longest; of an `AudioClip` take the center segment."""
        return SignalBatch.join([e.center_CS if isinstance(e, AudioClip) else e for e in examples])

    def batch_of(self, x: torch.Tensor) -> SignalBatch | None:
        """Return waveforms of one length as a batch on their device; None for a tensor of one clip, (C, S) or (S,).

        Args:
            x: float (B, C, S), full scale 1, at the modality's sample rate; of longer ones than `seconds`, the `piece`
                "start" or "middle" is taken.

        Raises:
            DataError: when axes, channels or number type are others.
            RecipeError: with an option that reads clips one by one: `trim`, or another `piece`.
        """
        check_axes(x, self.channels)
        batch = SignalBatch.of_tensor(x, self.channels)
        if batch is None:
            return None
        if self.trim is not None:
            raise RecipeError(
                "The option trim of the modality 'audio' is for single clips: leave it out, or hand in "
                "transform.batch(list(x))."
            )
        steps = None if self.seconds is None else max(1, round(self.seconds * self.sample_rate))
        if steps is None or x.shape[2] <= steps:
            return batch
        if self.piece not in ("start", "middle"):
            raise RecipeError(
                f"The option piece: {self.piece} of the modality 'audio' is for single clips: set piece: start or "
                "middle, or hand in transform.batch(list(x))."
            )
        first = round(float(POSITIONS[self.piece]) * (x.shape[2] - steps))
        return SignalBatch.of_tensor(x[..., first : first + steps], self.channels)

    def random_batch(self, count: int, is_long: bool, rng: torch.Generator) -> SignalBatch:
        """Return noise, the longest clip of a second (or `seconds`) or of under half of it."""
        samples = round(min(self.seconds or 1.0, 1.0) * self.sample_rate * (1.0 if is_long else 0.473))
        lengths = [samples, *torch.randint(samples // 2, samples + 1, (count - 1,), generator=rng).tolist()]
        return self.collate([0.1 * torch.randn(self.channels, n, generator=rng).numpy() for n in lengths])

    def log_mels(self, batch: SignalBatch) -> LogMelBatch:
        """Return the normalized log-mel spectrograms (B, C x F, T) of a batch, or the batch itself if it has them."""
        if isinstance(batch, LogMelBatch):
            return batch
        mels = self._unscaled_log_mels(batch)
        return mels.with_values((mels.values - self._mean) / self._std)

    def _unscaled_log_mels(self, batch: SignalBatch) -> LogMelBatch:
        mels = self.front_end(batch.trim_padding())
        if self.normalize == "train":
            return mels
        mean_BG1 = mels.values.sum(2, keepdim=True) / mels.lengths[:, None, None]
        return mels.with_values(mels.values - mean_BG1)

    def fit(self, raws: Iterable[Any]) -> None:
        """Compute mean and standard deviation of log-mels of clips of the train part.

        Raises:
            DataError: when none of them can be decoded.
        """
        count, total, squares = 0, 0.0, 0.0
        for example in readable_examples(raws, self.decode, "audio clip"):
            values_GT = self._unscaled_log_mels(self.collate([example])).values.double()
            count += values_GT.numel()
            total += float(values_GT.sum())
            squares += float(values_GT.square().sum())
        self._mean = total / count
        # Constant clips, such as silence, are not scaled.
        variance = squares / count - self._mean**2
        self._std = variance**0.5 if variance > 1e-9 else 1.0

    def notes(self, raws: Sequence[Any]) -> list[str]:
        """Return how many clips are read in part, because they are longer than a segment or damaged."""
        longer, damaged, first, count = 0, 0, "", 0
        for raw in raws:
            try:
                segment = self._segment(raw, 0.0)
            except BadSample:
                continue
            count += 1
            longer += segment.rest > 0
            if segment.missing is not None:
                damaged += 1
                first = first or f"{self.caption(raw) or 'one of them'}: {segment.missing}"
        said = []
        if longer:
            where = {"start": "at their start", "middle": "in their middle", "onset": "from their onset on"}
            said.append(
                f"of {longer} of {count} clips, longer than {self.seconds:g} s, only {self.seconds:g} s are read: "
                f"{where.get(self.piece, 'at random in training, in their middle in evaluation')} (option piece)"
            )
        if damaged:
            said.append(f"{damaged} of {count} clips are damaged, and read as far as they go; the first, {first}")
        return said

    @property
    def is_fitted(self) -> bool:
        """Whether mean and standard deviation of log-mels are known."""
        return self._mean is not None

    def state(self) -> dict[str, Any]:
        """Return mean and standard deviation of log-mels."""
        return {} if self._mean is None else {"mean": self._mean, "std": self._std}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore mean and standard deviation of log-mels."""
        if state:
            self._mean, self._std = float(state["mean"]), float(state["std"])

    def describe(self, raw: Any, example: np.ndarray | AudioClip) -> dict[str, float | bool | str]:
        """Return seconds, sample rate, channels and format of the clip, and whether only a part of it is read."""
        return audio_facts(raw, self.sample_rate, self.seconds, self.channels)

    def content(self, raw: Any, example: np.ndarray | AudioClip) -> np.ndarray:
        """Return the samples, float32 (C, S), of a longer clip those of the center segment."""
        return example.center_CS if isinstance(example, AudioClip) else example

    def preview(self, example: np.ndarray | AudioClip) -> Image.Image:
        """Plot samples, float32 (C, S), as waveform and log-mels; or plot log-mels (C x F, T), nan where masked."""
        return self._plot(example, {})

    def sound(self, example: np.ndarray | AudioClip) -> tuple[np.ndarray, int] | None:
        """Return samples, float32 (C, S), the first two of more channels, and the sample rate; None for log-mels."""
        if isinstance(example, AudioClip):
            example = example.center_CS
        return (example[:2], self.sample_rate) if len(example) == self.channels else None

    def preview_views(self, batch: SignalBatch, views: Sequence[View]) -> list[list[Image.Image]]:
        """Plot the rows of views with their seconds and Hz in the clip, above each where its crop lies."""
        return [[self._plot(row, info) for row, info in rows_with_info(view)] for view in views]

    def _plot(self, example: np.ndarray | AudioClip, info: Mapping[str, np.ndarray]) -> Image.Image:
        if isinstance(example, AudioClip):
            example = example.center_CS
        is_mels = len(example) != self.channels
        crop = tuple(info["crop"].tolist()) if "crop" in info else None
        if crop is not None and not is_mels:  # of samples
            crop = tuple(steps / self.front_end.hop for steps in crop)
        time = TimeAxis(self.front_end.hop / self.sample_rate, "s", crop)  # type: ignore[arg-type]
        bands = tuple(info["bands"].tolist()) if "bands" in info else None
        axes = MelAxes(self.front_end.centers(), time, bands)  # type: ignore[arg-type]
        if is_mels:
            return spectrogram_image(None, example, axes)
        (mels_GT,) = self.log_mels(SignalBatch.join([example])).unpad()
        return spectrogram_image(example, mels_GT, axes)

    def examples(self, batch: SignalBatch) -> list[np.ndarray]:
        """Return the samples (C, S_i) of a batch, or its log-mels (C x F, T_i) with nan where they are masked."""
        return batch.unpad()

    @property
    def descriptor_names(self) -> tuple[str, ...]:
        """Mean, standard deviation and mean absolute change of each log-mel band, and the logarithm of the seconds."""
        bands = [f"band {band} of channel {c}" for c in range(self.channels) for band in range(self.n_mels)]
        kinds = ("mean", "standard deviation", "mean absolute change")
        return (*(f"{kind} of {band}" for kind in kinds for band in bands), "log seconds")

    def descriptors(self, example: np.ndarray | AudioClip) -> np.ndarray:
        """Return the descriptors of a clip, of a longer one those of the center segment, float32 (P,)."""
        batch = self.collate([example])
        mels = self.log_mels(batch).values[0]
        changes_G = mels.diff(dim=1).abs().mean(1) if mels.shape[1] > 1 else mels.new_full(mels.shape[:1], torch.nan)
        log_seconds = np.log(batch.values.shape[2] / self.sample_rate)
        return np.concatenate([self.baseline_features(batch)[0], changes_G.numpy(), [log_seconds]]).astype(np.float32)

    @property
    def baseline_description(self) -> str:
        """The statistics."""
        return "mean and standard deviation of log-mel bands"

    def baseline_features(self, batch: SignalBatch) -> np.ndarray:
        """Return log-mel statistics: mean and standard deviation over time of each band, float32 (B, 2 x C x F)."""
        mels = self.log_mels(batch)
        x_BGT, count_BG = mels.values.double(), mels.observed.sum(2).clamp(min=1)
        mean_BG = x_BGT.sum(2) / count_BG
        centered_BGT = (x_BGT - mean_BG[..., None]).masked_fill(~mels.observed, 0.0)
        std_BG = (centered_BGT.square().sum(2) / count_BG).sqrt()
        return torch.cat([mean_BG, std_BG], dim=1).float().cpu().numpy()
