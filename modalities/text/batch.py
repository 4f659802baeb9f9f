"""The canonical batch of texts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium import Batch, to_device

PAD = 0
"""The id of padding, whatever the tokenizer; `mask` alone says which tokens are valid."""


@dataclass
class TextBatch(Batch):
    """B texts of at most T tokens; padding is on the right.

    Args:
        ids: int64 (B, T), `PAD` where `mask` is False.
        mask: bool (B, T), True where a token is valid.
        host_lengths: int64 (B,), valid tokens of each text of a batch on a device, where the host knows them, or None.
    """

    ids: Tensor
    mask: Tensor
    host_lengths: np.ndarray | None = None

    @classmethod
    def join(cls, examples: Sequence[Tensor]) -> Self:
        """Pad examples, int64 (T_i,) each, to the longest of them."""
        lengths_B = torch.tensor([len(ids) for ids in examples])
        ids_BT = torch.nn.utils.rnn.pad_sequence(list(examples), batch_first=True, padding_value=PAD)
        return cls(ids_BT, torch.arange(ids_BT.shape[1]) < lengths_B[:, None])

    @classmethod
    def cat(cls, batches: Sequence[Self]) -> Self:
        """Concatenate batches along their examples, padded to the longest."""
        longest = max(batch.ids.shape[1] for batch in batches)
        known = [batch.host_lengths for batch in batches if batch.host_lengths is not None]
        return cls(
            torch.cat([F.pad(b.ids, (0, longest - b.ids.shape[1]), value=PAD) for b in batches]),
            torch.cat([F.pad(b.mask, (0, longest - b.mask.shape[1]), value=False) for b in batches]),
            np.concatenate(known) if len(known) == len(batches) else None,
        )

    def padding(self) -> tuple[int, ...]:
        """Return T."""
        return (self.ids.shape[1],)

    def padded_to(self, lengths: Sequence[int]) -> Self:
        """Return the texts with columns of padding, up to T tokens."""
        more = (0, lengths[0] - self.ids.shape[1])
        return replace(self, ids=F.pad(self.ids, more, value=PAD), mask=F.pad(self.mask, more, value=False))

    def select(self, index: Tensor) -> Self:
        """Return the examples at `index`, on the host or the same device.

        Columns that are now padding in every row are left out where the host knows them: of a batch on the CPU, and on
        a device if it was not changed there and `index` is on the host.
        """
        lengths = None
        if index.device.type == "cpu":
            index = index.nonzero()[:, 0] if index.dtype == torch.bool else index
            lengths = None if self.host_lengths is None else self.host_lengths[index.numpy()]
            (index,) = to_device([index], self.device)
        ids_BT, mask_BT = self.ids[index], self.mask[index]
        longest = mask_BT.shape[1]
        if lengths is not None and len(lengths):
            longest = int(lengths.max())
        elif self.device.type == "cpu" and len(mask_BT):
            longest = int(mask_BT.any(dim=0).sum())
        return type(self)(ids_BT[:, :longest], mask_BT[:, :longest], lengths)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Return the batch on `device`; the host keeps the lengths that it knows."""
        moved = super().to(device, non_blocking)
        if moved.device.type == "cpu":
            return replace(moved, host_lengths=None)
        return replace(moved, host_lengths=self.mask.sum(1).numpy()) if self.device.type == "cpu" else moved

    def shape_key(self) -> Hashable:
        """Return the type alone: texts of any length can be concatenated."""
        return (type(self),)
