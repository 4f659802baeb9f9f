"""The front end of most encoders: log-mel spectrograms of waveforms, on the device of the batch.

Letters: B clips, C channels, S samples, F bands, T frames.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchaudio.functional import melscale_fbanks

from sensorium import at_least_one_row, device_constant
from sensorium.errors import RecipeError, check_range
from sensorium.modalities.audio.batch import LogMelBatch
from sensorium.modalities.signal.batch import SignalBatch

LOG_OFFSET = 1e-6
"""Added to the power of a band before the logarithm, so that silence is finite."""
CHUNK = 2**21
"""Values of a spectrum that are computed at once on a CPU, so that they stay in its cache."""


class LogMelSpectrogram:
    """Log-mel spectrogram: the natural logarithm of power in mel bands.

    A clip of S samples has ceil(S / hop) frames; frame t has a window centered on its hop. Clips are zero-padded at
    both ends, so that no frame depends on the padding of the batch.

    Args:
        sample_rate: sample rate in Hz.
        n_mels: F, the number of mel bands.
        window: length of the Hann window in ms.
        hop: hop length in ms.
        f_min: lowest frequency of the mel bands in Hz.
        f_max: highest frequency in Hz; None is half the sample rate.

    Raises:
        RecipeError: when a band would have no frequency bin, or an option is not valid.
    """

    def __init__(
        self, sample_rate: int, n_mels: int, window: float, hop: float, f_min: float, f_max: float | None
    ) -> None:
        self.window, self.hop = round(sample_rate * window / 1000), round(sample_rate * hop / 1000)
        f_max = sample_rate / 2 if f_max is None else f_max
        if not 1 <= self.hop <= self.window:
            raise RecipeError(
                f"The modality 'audio' needs a hop of at least one sample and at most the window, not {hop:g} ms of "
                f"{window:g} ms at {sample_rate} Hz."
            )
        if not 0 <= f_min < f_max <= sample_rate / 2:
            raise RecipeError(
                f"The modality 'audio' needs 0 <= f_min < f_max <= {sample_rate / 2:g} Hz, not {f_min} and {f_max}."
            )
        check_range("modality 'audio'", "[2, inf)", n_mels=n_mels)
        # Twice the window, zero-padded: narrow low bands then have at least one frequency bin.
        self.n_fft = 2 ** (2 * self.window - 1).bit_length()
        self._bands = self.n_fft // 2 + 1, f_min, f_max, n_mels, sample_rate
        if bool((_filterbank(torch.device("cpu"), *self._bands).amax(0) == 0).any()):
            raise RecipeError(
                f"{n_mels} mel bands from {f_min:g} to {f_max:g} Hz are too narrow for a window of {window:g} ms: "
                "lower the modality's n_mels or raise its window."
            )

    def __call__(self, batch: SignalBatch) -> LogMelBatch:
        """Return the spectrograms of waveforms (B, C, S): not yet normalized."""
        frames = (batch.values.shape[2] + self.hop - 1) // self.hop
        before = (self.n_fft - self.hop) // 2
        after = (frames - 1) * self.hop + self.n_fft - before - batch.values.shape[2]
        padded_BCS = at_least_one_row(F.pad(batch.values.float(), (before, after)))
        values = frames * (self.n_fft // 2 + 1) * batch.values.shape[1]
        # Half precision does not have the range of power spectra.
        with torch.autocast(batch.device.type, enabled=False):
            if torch.compiler.is_compiling() or batch.device.type != "cpu":
                mels_BCFT = self._mels(padded_BCS)[: len(batch)]
            else:
                chunks = padded_BCS.split(max(1, CHUNK // values))
                mels_BCFT = torch.cat([self._mels(chunk_BCS) for chunk_BCS in chunks])[: len(batch)]
        lengths_B = (batch.lengths + self.hop - 1) // self.hop
        valid_B1T = (torch.arange(frames, device=batch.device) < lengths_B[:, None])[:, None]
        values_BGT = mels_BCFT.flatten(1, 2).masked_fill(~valid_B1T, 0.0)
        known = None if batch.host_lengths is None else -(-batch.host_lengths // self.hop)
        return LogMelBatch(values_BGT, lengths_B, valid_B1T.expand_as(values_BGT).contiguous(), known)

    def centers(self) -> np.ndarray:
        """Return the center frequencies of the bands in Hz, float64 (F,)."""
        _, f_min, f_max, n_mels, _ = self._bands
        low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (f_min, f_max))
        return 700 * (10 ** (np.linspace(low, high, n_mels + 2)[1:-1] / 2595) - 1)

    def _mels(self, padded_BCS: Tensor) -> Tensor:
        spectrum_NFT = torch.stft(
            padded_BCS.flatten(0, 1),
            self.n_fft,
            self.hop,
            self.window,
            _hann(padded_BCS.device, self.window),
            center=False,
            return_complex=True,
        )
        mels_NFT = _filterbank(padded_BCS.device, *self._bands).T @ spectrum_NFT.abs().square()
        return (mels_NFT + LOG_OFFSET).log().unflatten(0, padded_BCS.shape[:2])


@device_constant
def _hann(window: int) -> Tensor:
    """Return the Hann window, float32 (window,)."""
    return torch.hann_window(window)


@device_constant
def _filterbank(bins: int, f_min: float, f_max: float, n_mels: int, sample_rate: int) -> Tensor:
    """Return the weights of frequency bins in mel bands, float32 (bins, F)."""
    return melscale_fbanks(bins, f_min, f_max, n_mels, sample_rate, norm=None, mel_scale="htk")
