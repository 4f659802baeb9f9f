"""The canonical batch of sampled signals."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium import Batch, View, to_device
from sensorium.errors import DataError


@dataclass
class SignalBatch(Batch):
    """B signals of C channels and at most T time steps, padded at the end.

    Args:
        values: float32 (B, C, T), finite; zero where nothing was observed.
        lengths: int64 (B,), how many steps of a row are valid; they come first.
        observed: bool (B, C, T), True where a value was measured: False where it is missing, and on padding.
        host_lengths: int64 (B,), the lengths of a batch on a device where the host knows them, which decide shapes;
            None where rows or lengths were drawn on the device. Of a batch on the CPU, `lengths` are read.
    """

    values: Tensor
    lengths: Tensor
    observed: Tensor
    host_lengths: np.ndarray | None = None

    @classmethod
    def join(cls, examples: Sequence[np.ndarray]) -> Self:
        """Pad examples, float32 (C, T_i) each with nan where a value is missing, to the longest of them."""
        lengths = [example.shape[1] for example in examples]
        padded_BCT = np.full((len(examples), len(examples[0]), max(lengths)), np.nan, np.float32)
        for row_CT, example, length in zip(padded_BCT, examples, lengths, strict=True):
            row_CT[:, :length] = example
        observed_BCT = ~np.isnan(padded_BCT)
        values_BCT = np.where(observed_BCT, padded_BCT, np.float32(0))
        return cls(torch.from_numpy(values_BCT), torch.tensor(lengths), torch.from_numpy(observed_BCT))

    @classmethod
    def of_tensor(cls, x: Tensor, channels: int | None = None) -> Self | None:
        """Return signals of one length as a batch on their device; None for a tensor of one signal.

        Args:
            x: float (B, C, T), nan where a value is missing; it becomes float32, and is cut off from the graph of
                gradients.
            channels: C that is expected, or None.

        Raises:
            DataError: when axes, channels or number type are others.
        """
        if x.ndim < 3:
            return None
        check_axes(x, channels)
        if not x.is_floating_point():
            raise DataError(
                f"A tensor of signals is float, not {str(x.dtype).removeprefix('torch.')}: convert it, and divide "
                "integer samples of audio by their full scale, such as x / 32768 of 16 bits."
            )
        x = x.detach().float()
        lengths, observed_BCT = np.full(len(x), x.shape[2], np.int64), ~x.isnan()
        (lengths_B,) = to_device([lengths], x.device)
        host_lengths = None if x.device.type == "cpu" else lengths
        return cls(x.masked_fill(~observed_BCT, 0.0), lengths_B, observed_BCT, host_lengths)

    @classmethod
    def cat(cls, batches: Sequence[Self]) -> Self:
        """Concatenate batches along their examples, the shorter ones padded to the longest."""
        longest = max(batch.values.shape[2] for batch in batches)
        known = [batch.host_lengths for batch in batches if batch.host_lengths is not None]
        return cls(
            torch.cat([F.pad(b.values, (0, longest - b.values.shape[2])) for b in batches]),
            torch.cat([b.lengths for b in batches]),
            torch.cat([F.pad(b.observed, (0, longest - b.observed.shape[2]), value=False) for b in batches]),
            np.concatenate(known) if len(known) == len(batches) else None,
        )

    def padding(self) -> tuple[int, ...]:
        """Return T."""
        return (self.values.shape[2],)

    def padded_to(self, lengths: Sequence[int]) -> Self:
        """Return the signals with steps of padding, up to T."""
        more = (0, lengths[0] - self.values.shape[2])
        return dataclasses.replace(
            self, values=F.pad(self.values, more), observed=F.pad(self.observed, more, value=False)
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Return the batch on `device`; the host keeps the lengths that it knows."""
        moved = super().to(device, non_blocking)
        return dataclasses.replace(
            moved, host_lengths=None if moved.lengths.device.type == "cpu" else self.known_lengths
        )

    def select(self, index: Tensor) -> Self:
        """Return the examples at `index`: int64 positions (N,) or a bool mask (B,), on the host or the same device."""
        known = None
        if index.device.type == "cpu":
            index = index.nonzero()[:, 0] if index.dtype == torch.bool else index
            known = None if self.host_lengths is None else self.host_lengths[index.numpy()]
            (index,) = to_device([index], self.device)
        return dataclasses.replace(super().select(index), host_lengths=known)

    @property
    def known_lengths(self) -> np.ndarray | None:
        """The lengths, int64 (B,), where the host knows them without waiting for a device; else None."""
        return known_on_host(self.lengths, self.host_lengths)

    def lengths_on_host(self) -> np.ndarray:
        """Return the lengths, int64 (B,), for draws that decide shapes; waits for the device if it must."""
        known = self.known_lengths
        return self.lengths.cpu().numpy() if known is None else known

    @property
    def is_full(self) -> bool:
        """Whether the host knows that no step is padding."""
        known = self.known_lengths
        return known is not None and bool((known == self.values.shape[2]).all())

    def shape_key(self) -> Hashable:
        """Return the type and the number of channels: signals of any length can be concatenated."""
        return type(self), self.values.shape[1]

    @property
    def valid(self) -> Tensor:
        """The padding mask, bool (B, T): True where a step is valid."""
        return torch.arange(self.values.shape[2], device=self.device) < self.lengths[:, None]

    def with_values(self, values_BCT: Tensor) -> Self:
        """Return the batch with other values, which become zero where nothing was observed."""
        return dataclasses.replace(self, values=values_BCT.masked_fill(~self.observed, 0.0))

    def masked(self, mask: Tensor) -> Self:
        """Return the batch without the values at `mask`, bool that broadcasts to (B, C, T): they count as missing."""
        observed_BCT = self.observed & ~mask
        return dataclasses.replace(self, values=self.values.masked_fill(~observed_BCT, 0.0), observed=observed_BCT)

    def without_channels(self, dropped_BC: Tensor) -> Self:
        """Return the batch without the channels at `dropped_BC`, bool (B, C): their values count as missing."""
        return self.masked(dropped_BC[..., None])

    def own_channels(self) -> np.ndarray:
        """Return on the host which channels are the record's own, bool (B, C): all of them."""
        return np.ones(self.values.shape[:2], np.bool_)

    def trim_padding(self) -> Self:
        """Return the batch without steps that are padding in every row, as rows selected from a larger batch have.

        Where the host does not know the lengths, it is returned as it is.
        """
        longest = longest_of(self.known_lengths, self.values.shape[2])
        if longest == self.values.shape[2]:
            return self
        return dataclasses.replace(self, values=self.values[..., :longest], observed=self.observed[..., :longest])

    def unpad(self) -> list[np.ndarray]:
        """Return the examples on the CPU, without padding: float32 (C, T_i) each, nan where a value is missing."""
        values_BCT = self.values.detach().float().masked_fill(~self.observed, float("nan")).cpu().numpy()
        return [row_CT[:, :length] for row_CT, length in zip(values_BCT, self.lengths_on_host(), strict=True)]


def known_on_host(lengths_B: Tensor, host_lengths: np.ndarray | None) -> np.ndarray | None:
    """Return lengths as the host knows them: those on the CPU, or what it has of those on a device.

    None while a function is compiled, which cannot read values: its shapes do not depend on them.
    """
    if torch.compiler.is_compiling():
        return None
    return lengths_B.numpy() if lengths_B.device.type == "cpu" else host_lengths


def longest_of(known_lengths: np.ndarray | None, most: int) -> int:
    """Return the largest of the lengths, or `most` where the host does not know them or there are none."""
    return most if known_lengths is None or not len(known_lengths) else int(known_lengths.max())


def rows_with_info(view: View) -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Return the rows of a view on the CPU without padding, each with its entries of `View.info`, for previews."""
    assert isinstance(view.batch, SignalBatch)
    info = {name: value.numpy() for name, value in view.info.items()}
    return [(row, {name: value[i] for name, value in info.items()}) for i, row in enumerate(view.batch.unpad())]


def check_axes(x: Tensor, channels: int | None, channel_axis: int = 0) -> None:
    """Check that a tensor is signals (B, C, T), or one signal.

    Args:
        x: any tensor.
        channels: C that is expected, or None.
        channel_axis: the axis of channels of a tensor of one signal, (C, T) or (T, C).

    Raises:
        DataError: one sentence with the shape that is expected, and what to do.
    """
    shape, count = tuple(x.shape), "C" if channels is None else channels
    if x.ndim < 2 or (x.ndim == 2 and (channels is None or shape[channel_axis] == channels)):
        return
    if x.ndim == 3 and channels in (None, shape[1]) and shape[2]:
        return
    of_one = (count, "T") if channel_axis == 0 else ("T", count)
    advice = f"set the modality's channels to {shape[1]}, or convert the tensor"
    if x.ndim == 2:
        advice = (
            f"its batch axis or its channel axis is missing, so hand in x.unsqueeze(1) of {shape[0]} signals of one "
            "channel, or convert one signal to that many channels"
        )
    elif x.ndim > 3:
        advice = "join its leading axes: hand in x.flatten(0, -3)"
    elif not shape[2]:
        advice = "it has no steps, so leave it out"
    elif shape[2] == channels:
        advice = "its channels are last, so hand in x.transpose(1, 2)"
    wanted = "" if channels is None else f" of {channels} channel{'s' * (channels != 1)}"
    raise DataError(
        f"A tensor of signals{wanted} is (B, {count}, T), or ({of_one[0]}, {of_one[1]}) of one signal, "
        f"not {shape}: {advice}."
    )
