"""Convolutional network over log-mel spectrograms.

Letters: B clips, C channels, F bands, T frames, N frames after the blocks, W width of a map, D width.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import Encoder, Features, LayerStack, check_range
from sensorium.batch_norm import MaskedBatchNorm
from sensorium.modalities.audio.modality import AudioModality
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.pooling import pool_parts, pool_tokens


class Block(nn.Module):
    """A 3 x 3 convolution, batch norm and ReLU, downsampled by 2 in frequency and time."""

    def __init__(self, width: int, out: int, downsample: Literal["pool", "stride"]) -> None:
        super().__init__()
        self.pools = downsample == "pool"
        self.conv = nn.Conv2d(width, out, 3, stride=1 if self.pools else 2, padding=1, bias=False)
        self.norm = MaskedBatchNorm(out)

    def forward(self, x_BWFT: Tensor, steps_BT: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the map at half its size, rounded up, and which of its frames are valid."""
        x_BWFT = self.conv(x_BWFT)
        halved_BN = None if steps_BT is None else halved(steps_BT)
        x_BWFT = F.relu(self.norm(x_BWFT, steps_BT if self.pools else halved_BN))
        # After the ReLU no value is below the zeros of padding, so that a maximum is never one of them.
        return (F.max_pool2d(x_BWFT, 2, ceil_mode=True) if self.pools else x_BWFT), halved_BN


def halved(steps_BT: Tensor) -> Tensor:
    """Return which of half as many steps, rounded up, have a valid one, bool (B, N)."""
    # Pooled as one row of two axes, which torch traces for any number of steps.
    return F.max_pool2d(steps_BT[:, None, None].float(), (1, 2), ceil_mode=True)[:, 0, 0] > 0


class Conv(Encoder):
    """Convolutional network of BYOL-A over log-mel spectrograms (Niizumi et al. 2021, table I).

    Blocks of convolution, batch norm, ReLU and max pooling; then an MLP on all bands of each remaining frame, and
    pooling over time, for clips of any length. The batch norm before the first block is the paper's normalization of
    views. Features do not depend on padding.

    Args:
        modality: the audio modality, fitted.
        width: channels of the blocks, >= 1.
        depth: number of blocks, >= 1.
        downsample: downsampling of a block: max "pool", as in the paper, or the "stride" of its convolution, which is
            several times faster.
        dim: output and hidden width of the MLP, >= 1.
        dropout: dropout probability in the MLP.
        parts: 1 pools by mean plus maximum over time, as in the paper. With more, the means of so many overlapping
            parts are concatenated, which keeps the temporal order of short clips.
    """

    def __init__(
        self,
        modality: AudioModality,
        width: int = 64,
        depth: int = 3,
        downsample: Literal["pool", "stride"] = "pool",
        dim: int = 2048,
        dropout: float = 0.3,
        parts: int = 1,
    ) -> None:
        super().__init__()
        check_range("encoder 'conv'", "[1, inf)", width=width, depth=depth, dim=dim, parts=parts)
        self.modality, self.parts, self.dim = modality, parts, dim * parts
        self.norm = MaskedBatchNorm(modality.channels)
        widths = [modality.channels, *[width] * depth]
        self.blocks = nn.ModuleList(Block(a, b, downsample) for a, b in pairwise(widths))
        bands = -(-modality.n_mels // 2**depth)
        self.frames = nn.Sequential(
            nn.Linear(width * bands, dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, dim), nn.ReLU()
        )

    @property
    def token_dim(self) -> int:
        """Width of a frame."""
        return self.dim // self.parts

    def forward(self, batch: SignalBatch) -> Features:
        """Encode waveforms or log-mels to features with one token for each 2^depth frames."""
        mels = self.modality.log_mels(batch)
        steps_BT = None if mels.is_full else mels.valid
        x_BWFT = self.norm(mels.values.unflatten(1, (self.modality.channels, -1)), steps_BT)
        for block in self.blocks:
            x_BWFT, steps_BT = block(x_BWFT, steps_BT)
        tokens_BND = self.frames(x_BWFT.flatten(1, 2).transpose(1, 2))
        steps_BN = tokens_BND.new_ones(tokens_BND.shape[:2], dtype=torch.bool) if steps_BT is None else steps_BT
        return Features(self._pooled(tokens_BND, steps_BN), tokens_BND, steps_BN)

    def layer_stack(self) -> LayerStack:
        """Return its blocks, and the MLP on their frames behind them; the mean over the bands of a frame is a token."""
        return LayerStack(self.blocks, [self.frames], tokens_of=_frames)

    def _pooled(self, tokens_BND: Tensor, steps_BN: Tensor) -> Tensor:
        if self.parts == 1:
            return pool_tokens(tokens_BND, steps_BN, "mean") + pool_tokens(tokens_BND, steps_BN, "max")
        return pool_parts(tokens_BND, steps_BN, self.parts)


def _frames(made: tuple[Tensor, Tensor | None], features: Features) -> tuple[Tensor, Tensor | None]:
    """Return the frames of a map as tokens (B, N, W), means over the bands, and which of them are valid."""
    x_BWFN, steps_BN = made
    return x_BWFN.mean(2).transpose(1, 2), steps_BN
