"""A convolutional network over log-mel spectrograms.

Letters: B sounds, C channels, F bands, T frames, N frames after the blocks, W width of a map, D width.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import Encoder, Features
from sensorium.errors import RecipeError
from sensorium.modalities.audio.modality import AudioModality
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.masked_batch_norm import MaskedBatchNorm
from sensorium.modalities.signal.pooling import pool_parts, pool_tokens


class Block(nn.Module):
    """A 3 x 3 convolution, batch norm and ReLU, which halve bands and frames."""

    def __init__(self, width: int, out: int, halve: Literal["pool", "stride"]) -> None:
        super().__init__()
        self.pools = halve == "pool"
        self.conv = nn.Conv2d(width, out, 3, stride=1 if self.pools else 2, padding=1, bias=False)
        self.norm = MaskedBatchNorm(out)

    def forward(self, x_BWFT: Tensor, steps_BT: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the map at half its size, rounded up, and which of its frames are real."""
        x_BWFT = self.conv(x_BWFT)
        halved_BN = None if steps_BT is None else F.max_pool1d(steps_BT[:, None].float(), 2, ceil_mode=True)[:, 0] > 0
        x_BWFT = F.relu(self.norm(x_BWFT, steps_BT if self.pools else halved_BN))
        # After the ReLU nothing is below the zeros of padding, so that the largest of a pair is never one of them.
        return (F.max_pool2d(x_BWFT, 2, ceil_mode=True) if self.pools else x_BWFT), halved_BN


class Conv(Encoder):
    """BYOL-A's network (Niizumi et al. 2021, table I), for sounds of any length.

    Blocks of a convolution, batch norm, ReLU and max pool; then for every frame that is left two linear maps over all
    its bands, and pooling over time. The batch norm in front of the first block is the paper's normalization of views.
    Padding changes no feature.

    Args:
        modality: the audio modality, fitted.
        width: channels of the blocks' maps.
        depth: number of blocks.
        halve: how a block halves its map: by max "pool", as in the paper, or by the "stride" of its convolution, which
            is several times quicker.
        dim: width of the frames after the linear maps, and their hidden width.
        dropout: between the linear maps, while training.
        parts: 1 pools a sound by its mean plus its maximum over time, as in the paper. More cut it into so many parts,
            each half over the next, whose means stand side by side: features that know the order of short sounds.
    """

    def __init__(
        self,
        modality: AudioModality,
        width: int = 64,
        depth: int = 3,
        halve: Literal["pool", "stride"] = "pool",
        dim: int = 2048,
        dropout: float = 0.3,
        parts: int = 1,
    ) -> None:
        super().__init__()
        if min(width, depth, dim, parts) < 1:
            raise RecipeError("Width, depth, dim and parts of the encoder 'conv' are at least 1.")
        self.modality, self.parts, self.dim = modality, parts, dim * parts
        self.norm = MaskedBatchNorm(modality.channels)
        widths = [modality.channels, *[width] * depth]
        self.blocks = nn.ModuleList(Block(a, b, halve) for a, b in pairwise(widths))
        bands = -(-modality.mels // 2**depth)
        self.frames = nn.Sequential(
            nn.Linear(width * bands, dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, dim), nn.ReLU()
        )

    @property
    def token_dim(self) -> int:
        """The width of a frame."""
        return self.dim // self.parts

    def forward(self, batch: SignalBatch) -> Features:
        """Encode sounds, or log-mels of them, to features with one token for each 2^depth frames."""
        mels = self.modality.log_mels(batch)
        steps_BT = None if bool(mels.valid.all()) else mels.valid
        x_BWFT = self.norm(mels.values.unflatten(1, (self.modality.channels, -1)), steps_BT)
        for block in self.blocks:
            x_BWFT, steps_BT = block(x_BWFT, steps_BT)
        tokens_BND = self.frames(x_BWFT.flatten(1, 2).transpose(1, 2))
        steps_BN = tokens_BND.new_ones(tokens_BND.shape[:2], dtype=torch.bool) if steps_BT is None else steps_BT
        return Features(self._pooled(tokens_BND, steps_BN), tokens_BND, steps_BN)

    def _pooled(self, tokens_BND: Tensor, steps_BN: Tensor) -> Tensor:
        if self.parts == 1:
            return pool_tokens(tokens_BND, steps_BN, "mean") + pool_tokens(tokens_BND, steps_BN, "max")
        return pool_parts(tokens_BND, steps_BN, self.parts)
