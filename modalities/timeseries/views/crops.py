"""Overlapping crops."""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium import View, ViewGenerator, check_range, host_generator, to_device
from sensorium.modalities.signal.batch import SignalBatch, longest_of
from sensorium.modalities.signal.time_axis import crop, crop_place
from sensorium.modalities.timeseries.modality import TimeSeriesModality


class OverlappingCrops(ViewGenerator):
    """Random cropping of TS2Vec: two crops of each series that overlap (Yue et al. 2022, section 3.2).

    The end of the first crop is the start of the second. As in the authors' code, one draw gives the lengths for the
    whole batch, in proportion to each series' length, and each series has its own offset.

    Both views carry `info["aligned"]`, int64 (B, L): the index of the l-th shared time step in either view, -1 where a
    series shares fewer than L steps.

    Args:
        min_overlap: minimum number of shared time steps, >= 1, where a series has so many.
    """

    views, info = 2, ("aligned",)

    def __init__(self, modality: TimeSeriesModality, min_overlap: int = 2) -> None:
        check_range("views 'overlapping-crops'", "[1, inf)", min_overlap=min_overlap)
        self.min_overlap = min_overlap

    def __call__(self, batch: SignalBatch, rng: torch.Generator) -> list[View]:
        """Return the two crops."""
        # On the host: the draws decide the shapes of both views.
        drawn = self.draw(torch.from_numpy(batch.lengths_on_host()), host_generator(rng))
        host_first, host_second = (drawn[1] + drawn[2]).numpy(), (drawn[1] + drawn[3]).numpy()
        starts_B, overlap_B, before_B, after_B = to_device(drawn, batch.device)
        first = crop(batch, starts_B, before_B + overlap_B, host_first)
        second = crop(batch, starts_B + before_B, overlap_B + after_B, host_second)
        shared_L = torch.arange(longest_of(drawn[1].numpy(), 0), device=batch.device)
        valid_BL = shared_L < overlap_B[:, None]
        first_place = crop_place(starts_B, before_B + overlap_B, batch.lengths)
        second_place = crop_place(starts_B + before_B, overlap_B + after_B, batch.lengths)
        first_index = (before_B[:, None] + shared_L).masked_fill(~valid_BL, -1)
        second_index = shared_L.expand_as(valid_BL).masked_fill(~valid_BL, -1)
        return [
            View(first, info={"aligned": first_index, "crop": first_place}),
            View(second, info={"aligned": second_index, "crop": second_place}),
        ]

    def draw(self, lengths_B: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw, int64 (B,) each: the first step, and the numbers of steps of the overlap, before it and after it."""

        def randint(high_B: Tensor, rows: int = 1) -> Tensor:
            draw = torch.rand(rows, generator=rng, dtype=torch.float64)
            return (draw * high_B).long()

        min_B = lengths_B.clamp(max=self.min_overlap)
        overlap_B = min_B + randint(lengths_B - min_B + 1)
        left_B = randint(lengths_B - overlap_B + 1)
        right_B = lengths_B - overlap_B - left_B
        before_B, after_B = left_B - randint(left_B + 1), randint(right_B + 1)
        starts_B = randint(lengths_B - before_B - overlap_B - after_B + 1, len(lengths_B))
        return starts_B, overlap_B, before_B, after_B
