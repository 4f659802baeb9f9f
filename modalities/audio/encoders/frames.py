"""Frames of a convolutional feature encoder over waveforms, and the waveforms as it takes them.

Letters: B clips, S samples, T frames.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.errors import RecipeError
from sensorium.modalities.audio.batch import LogMelBatch
from sensorium.modalities.signal.batch import SignalBatch


class Frames:
    """Where the frames of a stack of convolutions without padding lie in a clip.

    Args:
        layers: kernel and stride of each convolution, the first one first.
    """

    def __init__(self, layers: Iterable[tuple[int, int]]) -> None:
        self.layers = tuple(layers)
        self.hop, self.receptive_field = 1, 1
        for kernel, stride in self.layers:
            self.receptive_field += (kernel - 1) * self.hop
            self.hop *= stride

    def mask(self, batch: SignalBatch, count: int, depth: int | None = None) -> Tensor:
        """Return which of the first `count` frames lie within their clip, bool (B, T); the first one always does.

        Args:
            batch: waveforms.
            count: T, the number of frames.
            depth: the number of convolutions that made them; None is all.
        """
        lengths_B = batch.lengths.clamp(min=self.receptive_field)
        for kernel, stride in self.layers[:depth]:
            lengths_B = (lengths_B - kernel) // stride + 1
        return torch.arange(count, device=batch.device) < lengths_B[:, None]

    def pad(self, x_BS: Tensor) -> Tensor:
        """Return waveforms zero-padded to at least one frame."""
        return F.pad(x_BS, (0, max(0, self.receptive_field - x_BS.shape[1])))

    def centers(self, x_BS: Tensor) -> Tensor:
        """Return the samples at the center of each frame, float (B, T, hop)."""
        windows_BTS = x_BS.unfold(1, self.receptive_field, self.hop)
        start = (self.receptive_field - self.hop) // 2
        return windows_BTS[..., start : start + self.hop]


def mono_waveforms(batch: SignalBatch, encoder: str) -> Tensor:
    """Return the samples of clips of one channel, float (B, S), zero at padding.

    Args:
        batch: waveforms.
        encoder: its registered name, for errors.

    Raises:
        RecipeError: for log-mels in place of waveforms.
    """
    if isinstance(batch, LogMelBatch):
        raise RecipeError(f"The encoder '{encoder}' takes waveforms: choose the views 'waveform' or 'plain'.")
    return batch.values[:, 0]


def standardized(x_BS: Tensor, batch: SignalBatch) -> Tensor:
    """Return waveforms of mean 0 and variance 1 over the samples of each clip, zero at padding."""
    count_B1 = batch.lengths[:, None]
    centered_BS = (x_BS - x_BS.sum(1, keepdim=True) / count_B1).masked_fill(~batch.valid, 0.0)
    return centered_BS / (centered_BS.square().sum(1, keepdim=True) / count_B1 + 1e-7).sqrt()
