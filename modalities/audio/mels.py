"""The front end of most encoders: from waveforms to log-mel spectrograms, on the device where a batch lives.

Letters: B sounds, C channels, S samples, F bands, T frames.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchaudio.functional import melscale_fbanks

from sensorium.errors import RecipeError
from sensorium.modalities.audio.batch import LogMels
from sensorium.modalities.signal.batch import SignalBatch

QUIET = 1e-6
"""What is added to the power of a band before its logarithm, so that silence has one."""
PIECE = 2**21
"""Numbers of a spectrum that a CPU makes at once: more would leave its cache, and get fresh memory every time."""


class FrontEnd:
    """Power in mel bands, on a logarithmic scale.

    A sound of S samples has ceil(S / hop) frames; the one numbered t looks at a window about the middle of its hop.
    Beyond both ends of a sound there is silence, so that no frame knows how far a batch was padded.

    Args:
        rate: samples a second.
        mels: F, the number of bands.
        window: milliseconds of a frame's Hann window.
        hop: milliseconds from frame to frame.
        low: where the lowest band starts, in Hz.
        high: where the highest ends, in Hz; None is half the rate.

    Raises:
        RecipeError: when a band would hold no frequency, or the numbers make no sense.
    """

    def __init__(self, rate: int, mels: int, window: float, hop: float, low: float, high: float | None) -> None:
        self.window, self.hop = round(rate * window / 1000), round(rate * hop / 1000)
        high = rate / 2 if high is None else high
        if not 1 <= self.hop <= self.window:
            raise RecipeError(
                f"The modality 'audio' needs a hop of at least one sample and at most the window, not {hop:g} ms of "
                f"{window:g} ms at {rate} Hz."
            )
        if not 0 <= low < high <= rate / 2:
            raise RecipeError(
                f"The bands of the modality 'audio' lie between 0 and {rate / 2:g} Hz, not {low} to {high}."
            )
        if mels < 2:
            raise RecipeError(f"The modality 'audio' needs at least two bands, not {mels}.")
        # Twice the window, filled up with zeros: narrow low bands then hold at least one frequency.
        self.points = 2 ** (2 * self.window - 1).bit_length()
        self._hann = torch.hann_window(self.window)
        self._bands = melscale_fbanks(self.points // 2 + 1, low, high, mels, rate, norm=None, mel_scale="htk")
        if bool((self._bands.amax(0) == 0).any()):
            raise RecipeError(
                f"{mels} bands from {low:g} to {high:g} Hz are too narrow for a window of {window:g} ms: "
                "lower the modality's mels or raise its window."
            )

    def __call__(self, batch: SignalBatch) -> LogMels:
        """Return the spectrograms of waveforms (B, C, S): natural logarithms of power, not yet scaled."""
        frames = -(-batch.values.shape[2] // self.hop)
        before = (self.points - self.hop) // 2
        after = (frames - 1) * self.hop + self.points - before - batch.values.shape[2]
        padded_BCS = F.pad(batch.values.float(), (before, after))
        numbers = frames * (self.points // 2 + 1) * batch.values.shape[1]
        rows = max(1, PIECE // numbers) if batch.device.type == "cpu" else len(batch)
        # Spectra have no half precision worth the name: their range is that of squares.
        with torch.autocast(batch.device.type, enabled=False):
            mels_BCFT = torch.cat([self._mels(piece_BCS) for piece_BCS in padded_BCS.split(rows)])
        lengths_B = (batch.lengths + self.hop - 1) // self.hop
        real_B1T = (torch.arange(frames, device=batch.device) < lengths_B[:, None])[:, None]
        values_BGT = mels_BCFT.flatten(1, 2).masked_fill(~real_B1T, 0.0)
        return LogMels(values_BGT, lengths_B, real_B1T.expand_as(values_BGT).contiguous())

    def _mels(self, padded_BCS: Tensor) -> Tensor:
        spectrum_NFT = torch.stft(
            padded_BCS.flatten(0, 1),
            self.points,
            self.hop,
            self.window,
            self._hann.to(padded_BCS.device),
            center=False,
            return_complex=True,
        )
        mels_NFT = self._bands.to(padded_BCS.device).T @ spectrum_NFT.abs().square()
        return (mels_NFT + QUIET).log().unflatten(0, padded_BCS.shape[:2])
