"""The batch of series whose channels differ from record to record.

Letters: B series, C channels, T time steps, P patches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium import to_device
from sensorium.modalities.signal.batch import SignalBatch, longest_of


@dataclass(frozen=True)
class ChannelSeries:
    """One series with the channels of its own.

    Args:
        values_CT: float32, nan where a value is missing.
        channels: name of each channel, each once.
        levels_C2: float32, mean and log standard deviation of each channel before scaling, relative to those that its
            name had in the train part; zero where that is not known.
    """

    values_CT: np.ndarray
    channels: tuple[str, ...]
    levels_C2: np.ndarray


def index_names(count: int) -> tuple[str, ...]:
    """Return what channels without names are called: "channel 0", "channel 1", ..."""
    return tuple(f"channel {channel}" for channel in range(count))


def channel_id(name: str) -> int:
    """Return the id of a channel's name: a 63-bit hash, the same in every process, never negative."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


@dataclass
class ChannelSetBatch(SignalBatch):
    """B series, each with channels of its own, padded to the most channels and the most time steps.

    Args:
        values: float32 (B, C, T), as of any batch of signals; zero in channels that are padding.
        lengths: int64 (B,).
        observed: bool (B, C, T); False in channels that are padding.
        host_lengths: int64 (B,), or None.
        channel_mask: bool (B, C), True where a channel is one of the record's, False where it is padding.
        channel_ids: int64 (B, C), hash of the channel's name (see `channel_id`); zero where it is padding.
        levels: float32 (B, C, 2), mean and log standard deviation before scaling (see `ChannelSeries`).
        host_channels: int64 (B,), how many of the first channels of a row may be valid, where the host knows it.
    """

    channel_mask: Tensor = field(kw_only=True)
    channel_ids: Tensor = field(kw_only=True)
    levels: Tensor = field(kw_only=True)
    host_channels: np.ndarray | None = field(kw_only=True, default=None)

    @classmethod
    def pad(cls, examples: Sequence[ChannelSeries]) -> Self:
        """Pad examples to the most channels and the longest of them."""
        counts = np.array([len(example.channels) for example in examples], np.int64)
        most, longest = int(counts.max()), max(example.values_CT.shape[1] for example in examples)
        padded_BCT = np.full((len(examples), most, longest), np.nan, np.float32)
        ids_BC = np.zeros((len(examples), most), np.int64)
        levels_BC2 = np.zeros((len(examples), most, 2), np.float32)
        for row, example in enumerate(examples):
            count, length = example.values_CT.shape
            padded_BCT[row, :count, :length] = example.values_CT
            ids_BC[row, :count] = [channel_id(name) for name in example.channels]
            levels_BC2[row, :count] = example.levels_C2
        observed_BCT = ~np.isnan(padded_BCT)
        return cls(
            torch.from_numpy(np.where(observed_BCT, padded_BCT, np.float32(0))),
            torch.tensor([example.values_CT.shape[1] for example in examples]),
            torch.from_numpy(observed_BCT),
            channel_mask=torch.from_numpy(np.arange(most) < counts[:, None]),
            channel_ids=torch.from_numpy(ids_BC),
            levels=torch.from_numpy(levels_BC2),
            host_channels=counts,
        )

    @classmethod
    def of_signals(cls, batch: SignalBatch, channels: Sequence[str]) -> Self:
        """Return signals that all have the same channels, of these names, as such a batch; levels are zero."""
        shape, count = batch.values.shape[:2], len(channels)
        (ids_C,) = to_device([np.array([channel_id(name) for name in channels], np.int64)], batch.device)
        return cls(
            batch.values,
            batch.lengths,
            batch.observed,
            batch.host_lengths,
            channel_mask=torch.ones(shape, dtype=torch.bool, device=batch.device),
            channel_ids=ids_C.expand(shape),
            levels=batch.values.new_zeros(*shape, 2),
            host_channels=np.full(len(batch), count, np.int64),
        )

    @classmethod
    def cat(cls, batches: Sequence[Self]) -> Self:
        """Concatenate batches along their examples, padded to the most channels and the longest of them."""
        wide = [batch.widen(max(batch.values.shape[1] for batch in batches)) for batch in batches]
        signals = SignalBatch.cat([SignalBatch(b.values, b.lengths, b.observed, b.host_lengths) for b in wide])
        known = [batch.host_channels for batch in batches if batch.host_channels is not None]
        return cls(
            signals.values,
            signals.lengths,
            signals.observed,
            signals.host_lengths,
            channel_mask=torch.cat([batch.channel_mask for batch in wide]),
            channel_ids=torch.cat([batch.channel_ids for batch in wide]),
            levels=torch.cat([batch.levels for batch in wide]),
            host_channels=np.concatenate(known) if len(known) == len(batches) else None,
        )

    def widen(self, channels: int) -> Self:
        """Return the batch with channels of padding up to a number of channels."""
        more = channels - self.values.shape[1]
        return type(self)(
            F.pad(self.values, (0, 0, 0, more)),
            self.lengths,
            F.pad(self.observed, (0, 0, 0, more), value=False),
            self.host_lengths,
            channel_mask=F.pad(self.channel_mask, (0, more), value=False),
            channel_ids=F.pad(self.channel_ids, (0, more)),
            levels=F.pad(self.levels, (0, 0, 0, more)),
            host_channels=self.host_channels,
        )

    def padding(self) -> tuple[int, ...]:
        """Return C and T."""
        return (self.values.shape[1], *super().padding())

    def padded_to(self, lengths: Sequence[int]) -> Self:
        """Return the series with channels of padding up to C, and steps up to T."""
        channels, *steps = lengths
        return SignalBatch.padded_to(self.widen(channels), steps)

    def select(self, index: Tensor) -> Self:
        """Return the examples at `index`: int64 positions (N,) or a bool mask (B,), on the host or the same device."""
        known = None
        if index.device.type == "cpu" and self.host_channels is not None:
            known = self.host_channels[index.numpy()]
        return dataclasses.replace(super().select(index), host_channels=known)

    def shape_key(self) -> Hashable:
        """Return the type: series of any channels and any length can be concatenated."""
        return (type(self),)

    def without_channels(self, dropped_BC: Tensor) -> Self:
        """Return the batch without the channels at `dropped_BC`, bool (B, C): they become padding."""
        return dataclasses.replace(super().without_channels(dropped_BC), channel_mask=self.channel_mask & ~dropped_BC)

    def trim_padding(self) -> Self:
        """Return the batch without steps and channels that are padding in every row, where the host knows them."""
        known = None if torch.compiler.is_compiling() else self.host_channels
        batch, most = super().trim_padding(), longest_of(known, self.values.shape[1])
        if most == self.values.shape[1]:
            return batch
        return dataclasses.replace(
            batch,
            values=batch.values[:, :most],
            observed=batch.observed[:, :most],
            channel_mask=self.channel_mask[:, :most],
            channel_ids=self.channel_ids[:, :most],
            levels=self.levels[:, :most],
        )

    def valid_patches(self, patch: int) -> Tensor:
        """Return which patches of `patch` steps have an observed value, bool (B, C, P)."""
        padding = -self.observed.shape[2] % patch
        observed_BCT = F.pad(self.observed, (0, padding), value=False) & self.channel_mask[..., None]
        return observed_BCT.unflatten(2, (-1, patch)).any(3)

    def token_order(self, patch: int) -> tuple[Tensor, Tensor]:
        """Return which of the C x P patches of each row are its tokens, those of a channel after those of another.

        Valid ones come first, so that a series of 2 channels beside one of 64 is not padded to as many tokens as their
        longest has for each of 64 channels.

        Args:
            patch: steps of a patch.

        Returns:
            index int64 (B, T), into the patches of all channels; and mask bool (B, T), True where one has an observed
            value. T is the most tokens that a row can have where the host knows it, else C x P.
        """
        valid_BN = self.valid_patches(patch).flatten(1)
        lengths, counts, most = self.known_lengths, self.host_channels, valid_BN.shape[1]
        if lengths is not None and counts is not None:
            most = min(max(longest_of(counts * -(-lengths // patch), most), 1), most)
        index_BT = (~valid_BN).to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
        return index_BT, valid_BN.gather(1, index_BT)

    def unpad(self) -> list[np.ndarray]:
        """Return the examples on the CPU, without padding: float32 (C_i, T_i) each, nan where a value is missing."""
        return [row_CT[own_C] for row_CT, own_C in zip(super().unpad(), self.own_channels(), strict=True)]

    def own_channels(self) -> np.ndarray:
        """Return on the host which channels are the record's own, bool (B, C): those that are no padding."""
        return self.channel_mask.cpu().numpy()
