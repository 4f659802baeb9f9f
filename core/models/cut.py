"""How the batch of a step is cut into the parts of ranks, and of gradient accumulation, so that all draw as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sensorium.parallel import collectives
from sensorium.parallel.host_group import exchange_ints
from sensorium.parallel.row_draws import Rows
from sensorium.types import Batch, RecordBatch

OWN = -1
"""Stands for a modality's own values where others are the numbers of mined negatives, from 0."""


@dataclass(frozen=True)
class Piece:
    """Which rows of a modality a part has.

    Args:
        rows: among those of the whole batch.
        padding: what the whole batch is padded to (see `Batch.padding`).
    """

    rows: Rows
    padding: tuple[int, ...]


@dataclass(frozen=True)
class Cut:
    """Which rows of the whole batch a part has.

    Args:
        own: modality name -> of its values.
        negatives: modality name -> of mined negatives, rank by rank; ranks that no part has are left out.
    """

    own: dict[str, Piece]
    negatives: dict[str, list[Piece]]


class Cutter:
    """Tells the parts of a rank which rows of the whole batch they have.

    Args:
        examples: modality name -> any batch of it.
        mined: modality name -> the most mined negatives of a record in it.
    """

    def __init__(self, examples: Mapping[str, Batch], mined: Mapping[str, int]) -> None:
        self._widths = {(name, OWN): len(example.padding()) for name, example in examples.items()}
        self._widths |= {(name, n): self._widths[name, OWN] for name, count in mined.items() for n in range(count)}

    def cuts(self, parts: Sequence[RecordBatch]) -> list[Cut]:
        """Return the cut of each part of this rank; collective."""
        return self.cuts_of(exchange_ints(self.sizes(parts)), collectives.rank(), len(parts))

    def sizes(self, parts: Sequence[RecordBatch]) -> list[int]:
        """Return what others must know of the parts of a rank: rows and padding of every modality of each part."""
        return [number for part in parts for call in self._widths for number in self._size(part, *call)]

    def _size(self, part: RecordBatch, name: str, number: int) -> list[int]:
        ranked = part.negatives.get(name, [])
        batches = [part.batches.get(name), *(values.batch for values in ranked)]
        batch = batches[number + 1] if number + 1 < len(batches) else None
        return [0] * (1 + self._widths[name, number]) if batch is None else [len(batch), *batch.padding()]

    def cuts_of(self, sizes: Sequence[Sequence[int]], rank: int, parts: int) -> list[Cut]:
        """Return the cut of each part of a rank.

        Args:
            sizes: those of every rank.
            rank: whose parts.
            parts: how many each rank has.
        """
        sizes_PS = np.array(sizes).reshape(len(sizes) * parts, -1)  # parts of all ranks, in the order of their rows
        cuts = [Cut({}, {}) for _ in range(parts)]
        at = 0
        for (name, number), width in self._widths.items():
            counts, padding = sizes_PS[:, at].tolist(), sizes_PS[:, at + 1 : at + 1 + width].max(0).tolist()
            at += 1 + width
            for part, cut in enumerate(cuts, rank * parts):
                piece = Piece(Rows(sum(counts[:part]), counts[part], sum(counts)), tuple(padding))
                if number == OWN:
                    cut.own[name] = piece
                elif piece.rows.total:
                    cut.negatives.setdefault(name, []).append(piece)
        return cuts
