"""Transformer over patches of single channels, for series of any channel set.

Letters: B series, C channels, P patches of a channel, T = C x P tokens, D width, K kept tokens, F channel codes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import Features, LayerStack, TokenEncoder, Tokens, at_least_one_row, check_range, take_tokens
from sensorium.losses.precision import at_least_fp32
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.positions import sinusoidal_positions
from sensorium.modalities.timeseries.channel_batch import ChannelSetBatch, index_names
from sensorium.modalities.timeseries.encoders.pre_norm import pre_norm_transformer
from sensorium.modalities.timeseries.modality import TimeSeriesModality

CODES = 32
"""Frequencies of the code of a channel's name, each with sine and cosine."""
BITS = 23
"""Bits of a hash that become an angle: as many as single precision holds."""


@dataclass
class ChannelTokens(Tokens):
    """Tokens that know their channel.

    Args:
        channel: int64 (B, T), index of each token's channel in its record.
    """

    channel: Tensor = field(kw_only=True)


class ChannelTransformer(TokenEncoder):
    """Transformer with one token for each channel and patch, for series of any channels; pre-norm.

    The tokens of a channel follow each other, and attention is over all of them (LaBraM, Jiang et al. 2024). A position
    is the sum of a sinusoidal embedding of time (Vaswani et al. 2017), which restarts in every channel, and of the
    channel's own: a learned linear map of Fourier features of its name's hash, so that a name which the training lacks
    has one too. A token is made of the patch's values and of its channel's level. A patch without an observed value is
    no token. Features are the mean over a channel's tokens first and over channels then, so that a series of 64
    channels weighs its channels as one of two does. Padded channels and steps change no feature; nor does the order of
    channels, but with `channel: position`. Tokens are no sequence in time.

    Args:
        modality: the time series modality, fitted; best with `channels: any`.
        patch: patch length in steps.
        width: embedding width, even and divisible by `heads`.
        depth: number of transformer blocks.
        heads: number of attention heads.
        dropout: dropout in attention and MLP while training, 0 to 1.
        channel: what tells channels apart: their "name"; their "position" in the series; or "none", nothing but their
            values, so that masked objectives do not know which channel they predict.
    """

    is_sequence = False
    multipliers_F: Tensor

    def __init__(
        self,
        modality: TimeSeriesModality,
        patch: int = 8,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        dropout: float = 0.0,
        channel: Literal["name", "position", "none"] = "name",
    ) -> None:
        super().__init__()
        check_range("encoder 'channel-transformer'", "[1, inf)", patch=patch)
        self.dim, self.patch, self.target_dim, self.channel = width, patch, patch, channel
        self.names = None if modality.axes is None else modality.axes.channels or None
        self.embed = nn.Linear(patch + 2, width)
        if channel != "none":
            self.embed_channel = nn.Linear(2 * CODES, width, bias=False)
        self.register_buffer("multipliers_F", _odd_numbers(CODES), persistent=False)
        self.blocks = pre_norm_transformer("channel-transformer", width, depth, heads, dropout)

    def tokenize(self, batch: SignalBatch) -> ChannelTokens:
        """Cut every channel into patches, embedded to (B, T, D); one with an observed value of its channel is valid."""
        sets = self._channel_sets(batch)
        index_BT, valid_BT = sets.token_order(self.patch)
        count = -(-batch.values.shape[2] // self.patch)
        channel_BT = index_BT // count
        inputs_BTp = torch.cat([self._patches(sets, index_BT), take_tokens(sets.levels, channel_BT)], dim=2)
        x_BTD = self.embed(inputs_BTp)
        time_PD = sinusoidal_positions(count, self.dim, batch.device)
        positions_BTD = time_PD[index_BT % count] + take_tokens(self._of_channels(sets), channel_BT)
        return ChannelTokens(x_BTD, positions_BTD.to(x_BTD.dtype), valid_BT, channel=channel_BT)

    def encode_tokens(self, tokens: ChannelTokens, keep: Tensor | None = None) -> Features:  # type: ignore[override]
        """Encode tokens, or those at `keep` (B, K)."""
        tokens = tokens if keep is None else tokens.take(keep)
        x_BTD, valid_BT = at_least_one_row(tokens.x + tokens.positions), at_least_one_row(tokens.valid())
        rows = len(tokens.x)
        # A row of which no valid token is kept attends to all its tokens: its features are finite, and pooled to zero.
        padding_BT = ~valid_BT & valid_BT.any(1, keepdim=True)
        x_BTD = self.blocks(x_BTD, src_key_padding_mask=padding_BT) * valid_BT[..., None]
        pooled_BD = pool_by_channel(x_BTD, valid_BT, at_least_one_row(tokens.channel))
        return Features(pooled_BD[:rows], x_BTD[:rows], valid_BT[:rows])

    def layer_stack(self) -> LayerStack:
        """Return its blocks, and the final norm behind them."""
        return LayerStack(self.blocks.layers, [self.blocks.norm], self.blocks.norm)

    def token_targets(self, batch: SignalBatch) -> Tensor:
        """Return the values of each patch, float (B, T, patch)."""
        sets = self._channel_sets(batch)
        return self._patches(sets, sets.token_order(self.patch)[0])

    def _channel_sets(self, batch: SignalBatch) -> ChannelSetBatch:
        """Return a batch whose series all have the modality's channels as one of channel sets."""
        if isinstance(batch, ChannelSetBatch):
            return batch
        return ChannelSetBatch.of_signals(batch, self.names or index_names(batch.values.shape[1]))

    def _patches(self, batch: ChannelSetBatch, index_BT: Tensor) -> Tensor:
        """Return the values of the patches at `index_BT`, float (B, T, patch); the last of a channel is zero-padded."""
        padding = -batch.values.shape[2] % self.patch
        patches_BCPp = F.pad(batch.values, (0, padding)).unflatten(2, (-1, self.patch))
        return take_tokens(patches_BCPp.flatten(1, 2), index_BT)

    def _of_channels(self, batch: ChannelSetBatch) -> Tensor:
        """Return the part of the position embeddings that tells channels, float (B or 1, C, D)."""
        count = batch.values.shape[1]
        if self.channel == "none":
            return batch.values.new_zeros(1, count, self.dim)
        if self.channel == "position":
            codes_BCF = sinusoidal_positions(count, 2 * CODES, batch.device)[None]
        else:
            codes_BCF = self._codes(batch.channel_ids)
        return self.embed_channel(codes_BCF)

    def _codes(self, ids_BC: Tensor) -> Tensor:
        """Return Fourier features of the hashes of names, float (B, C, 2 F): sine and cosine of F angles each."""
        bits_BCF = (ids_BC[..., None] * self.multipliers_F) >> (63 - BITS) & (2**BITS - 1)
        angles_BCF = bits_BCF.to(torch.float32) * (2 * math.pi / 2**BITS)
        return torch.cat([angles_BCF.sin(), angles_BCF.cos()], dim=2)


def pool_by_channel(tokens_BTD: Tensor, valid_BT: Tensor, channel_BT: Tensor) -> Tensor:
    """Return the mean over channels of the mean over each channel's valid tokens: (B, D), at least fp32.

    Args:
        tokens_BTD: tokens, any value at those that are not valid.
        valid_BT: bool, the padding mask.
        channel_BT: int64, index of each token's channel.
    """
    same_BTT = (channel_BT[:, :, None] == channel_BT[:, None]) & valid_BT[:, None]
    weights_BT = valid_BT / same_BTT.sum(2).clamp(min=1)  # those of a channel sum to one
    weights_BT = weights_BT / weights_BT.sum(1, keepdim=True).clamp(min=1)
    tokens_BTD = at_least_fp32(tokens_BTD.masked_fill(~valid_BT[..., None], 0.0))
    return (tokens_BTD * weights_BT[..., None]).sum(1)


def _odd_numbers(count: int) -> Tensor:
    """Return odd numbers for multiplicative hashing (Knuth 1973), int64 (F,): powers of one, modulo 2^63."""
    made, number = [], 1
    for _ in range(count):
        number = number * 0x9E3779B97F4A7C15 % 2**63
        made.append(number)
    return torch.tensor(made)
