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

from sensorium import Batch


@dataclass
class SignalBatch(Batch):
    """B signals of C channels and at most T time steps, padded at the end.

    Args:
        values: float32 (B, C, T), finite; zero where nothing was observed.
        lengths: int64 (B,), how many steps of a row are valid; they come first.
        observed: bool (B, C, T), True where a value was measured: False where it is missing, and on padding.
    """

    values: Tensor
    lengths: Tensor
    observed: Tensor

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
    def cat(cls, batches: Sequence[Self]) -> Self:
        """Concatenate batches along their examples, the shorter ones padded to the longest."""
        longest = max(batch.values.shape[2] for batch in batches)
        return cls(
            torch.cat([F.pad(b.values, (0, longest - b.values.shape[2])) for b in batches]),
            torch.cat([b.lengths for b in batches]),
            torch.cat([F.pad(b.observed, (0, longest - b.observed.shape[2]), value=False) for b in batches]),
        )

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

    def trim_padding(self) -> Self:
        """Return the batch without steps that are padding in every row, as rows selected from a larger batch have."""
        longest = int(self.lengths.max())
        if longest == self.values.shape[2]:
            return self
        return dataclasses.replace(self, values=self.values[..., :longest], observed=self.observed[..., :longest])

    def unpad(self) -> list[np.ndarray]:
        """Return the examples on the CPU, without padding: float32 (C, T_i) each, nan where a value is missing."""
        values_BCT = self.values.detach().float().masked_fill(~self.observed, float("nan")).cpu().numpy()
        return [row_CT[:, :length] for row_CT, length in zip(values_BCT, self.lengths.tolist(), strict=True)]
