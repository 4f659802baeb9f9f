"""The canonical batch of texts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium import Batch

PAD = 0
"""The id of padding, whatever the tokenizer; `mask` alone says which tokens are valid."""


@dataclass
class TextBatch(Batch):
    """B texts of at most T tokens; padding is on the right.

    Args:
        ids: int64 (B, T), `PAD` where `mask` is False.
        mask: bool (B, T), True where a token is valid.
    """

    ids: Tensor
    mask: Tensor

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
        return cls(
            torch.cat([F.pad(b.ids, (0, longest - b.ids.shape[1]), value=PAD) for b in batches]),
            torch.cat([F.pad(b.mask, (0, longest - b.mask.shape[1]), value=False) for b in batches]),
        )

    def select(self, index: Tensor) -> Self:
        """Return the examples at `index`, without columns that are now padding in every row."""
        ids_BT, mask_BT = self.ids[index], self.mask[index]
        longest = int(mask_BT.any(dim=0).sum())
        return type(self)(ids_BT[:, :longest], mask_BT[:, :longest])

    def shape_key(self) -> Hashable:
        """Return the type alone: texts of any length can be concatenated."""
        return (type(self),)
