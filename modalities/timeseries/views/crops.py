"""Pairs of overlapping crops."""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium import View, ViewGenerator, check_range
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.time_axis import crop
from sensorium.modalities.timeseries.modality import TimeSeriesModality


class OverlappingCrops(ViewGenerator):
    """Two crops of each series that share some steps (TS2Vec, Yue et al. 2022, section 3.2).

    The first ends where the second still goes on: their overlap is the end of the one and the start of the other. As
    in the authors' code one draw gives the lengths for the whole batch, in proportion to each series' length, and each
    series has a shift of its own.

    Both views carry `info["aligned"]`, int64 (B, L): the l-th entries name the step in either view that shows the same
    moment, -1 where a series shares fewer than L steps.

    Args:
        shortest: the least steps of an overlap, where a series has so many.
    """

    views, info = 2, ("aligned",)

    def __init__(self, modality: TimeSeriesModality, shortest: int = 2) -> None:
        check_range("views 'overlapping-crops'", "[1, inf)", shortest=shortest)
        self.shortest = shortest

    def __call__(self, batch: SignalBatch, rng: torch.Generator) -> list[View]:
        """Return the two crops."""
        starts_B, overlap_B, before_B, after_B = self.draw(batch.lengths, rng)
        first = crop(batch, starts_B, before_B + overlap_B)
        second = crop(batch, starts_B + before_B, overlap_B + after_B)
        shared_L = torch.arange(int(overlap_B.max()), device=batch.device)
        there_BL = shared_L < overlap_B[:, None]
        return [
            View(first, info={"aligned": (before_B[:, None] + shared_L).masked_fill(~there_BL, -1)}),
            View(second, info={"aligned": shared_L.expand_as(there_BL).masked_fill(~there_BL, -1)}),
        ]

    def draw(self, lengths_B: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw, int64 (B,) each: the first step, the steps of the overlap, and those before and after it."""

        def below(counts_B: Tensor, rows: int = 1) -> Tensor:
            luck = torch.rand(rows, generator=rng, device=lengths_B.device, dtype=torch.float64)
            return (luck * counts_B).long()

        least_B = lengths_B.clamp(max=self.shortest)
        overlap_B = least_B + below(lengths_B - least_B + 1)
        left_B = below(lengths_B - overlap_B + 1)
        right_B = lengths_B - overlap_B - left_B
        before_B, after_B = left_B - below(left_B + 1), below(right_B + 1)
        starts_B = below(lengths_B - before_B - overlap_B - after_B + 1, len(lengths_B))
        return starts_B, overlap_B, before_B, after_B
