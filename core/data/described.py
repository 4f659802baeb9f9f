"""Batches with the descriptors of their examples, between the worker that decodes them and the loader."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from sensorium.contracts import Modality
from sensorium.errors import PluginError
from sensorium.types import Batch, RankedValues, RecordBatch


class Described(NamedTuple):
    """A decoded example with its descriptors, float32 (P,)."""

    example: Any
    descriptors: np.ndarray


@dataclass
class DescribedBatch(Batch):
    """A canonical batch with the descriptors of its examples.

    Args:
        batch: the canonical batch.
        descriptors: float32 (B, P), nan where undefined.
    """

    batch: Batch
    descriptors: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Return both on `device`."""
        descriptors_BP = self.descriptors.to(device, non_blocking=non_blocking)
        return replace(self, batch=self.batch.to(device, non_blocking), descriptors=descriptors_BP)

    def pin_memory(self) -> Self:
        """Return both in page-locked memory."""
        return replace(self, batch=self.batch.pin_memory(), descriptors=self.descriptors.pin_memory())

    def select(self, index: Tensor) -> Self:
        """Return the examples at `index` with their descriptors."""
        return replace(self, batch=self.batch.select(index), descriptors=self.descriptors[index])

    @classmethod
    def cat(cls, batches: Sequence[Self]) -> Self:
        """Join batches along their examples."""
        joined = type(batches[0].batch).cat([described.batch for described in batches])
        return cls(joined, torch.cat([described.descriptors for described in batches]))

    def shape_key(self) -> Hashable:
        """Return that of the canonical batch, and how many descriptors there are."""
        return (self.batch.shape_key(), self.descriptors.shape[1])


def descriptors_of(modality: Modality, example: Any) -> np.ndarray:
    """Return the descriptors of a decoded example, float32 (P,).

    Raises:
        PluginError: when they are no row of P numbers.
    """
    row_P = np.asarray(modality.descriptors(example), np.float32)
    if row_P.shape != (len(modality.descriptor_names),):
        raise PluginError(
            f"{type(modality).__name__}.descriptors returns an array of shape {row_P.shape}, and names "
            f"{len(modality.descriptor_names)} descriptors: return one number for each name."
        )
    return row_P


def collate(modality: Modality, examples: Sequence[Any]) -> Batch:
    """Return the batch of examples, with their descriptors where they are described."""
    if not isinstance(examples[0], Described):
        return modality.collate(examples)
    rows_BP = np.stack([described.descriptors for described in examples])
    return DescribedBatch(modality.collate([described.example for described in examples]), torch.from_numpy(rows_BP))


def undescribed(batch: Batch) -> Batch:
    """Return the canonical batch alone."""
    return batch.batch if isinstance(batch, DescribedBatch) else batch


def descriptors_apart(records: RecordBatch) -> RecordBatch:
    """Return a batch of records with canonical batches, and the descriptors of their own values beside them."""
    found = {n: batch.descriptors for n, batch in records.batches.items() if isinstance(batch, DescribedBatch)}
    if not found:
        return records

    def plain(ranked: dict[str, list[RankedValues]]) -> dict[str, list[RankedValues]]:
        return {
            name: [RankedValues(undescribed(batch), present) for batch, present in ranks]
            for name, ranks in ranked.items()
        }

    return replace(
        records,
        batches={name: undescribed(batch) for name, batch in records.batches.items()},
        negatives=plain(records.negatives),
        further=plain(records.further),
        descriptors=found,
    )
