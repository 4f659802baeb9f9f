"""Corrupted captions as hard negatives of their records.

Letters: B texts, T tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sensorium import View, ViewGenerator
from sensorium.modalities.text.batch import TextBatch
from sensorium.modalities.text.views import text_tokens

if TYPE_CHECKING:
    from sensorium.modalities.text.modality import TextModality


TRIES = 4
"""Draws of a replacement token from the batch; the last one that differs is taken."""


class HardNegativeCaptionViews(ViewGenerator):
    """The text and corrupted captions as hard negatives (NegCLIP, Yuksekgonul et al. 2023), on tokens.

    A corrupted caption has either two different tokens swapped ("a dog bites a man", "a man bites a dog"), or one token
    replaced by a token of another text ("a red apple", "a green apple"). A text whose tokens are all equal can only be
    corrupted the second way. A corrupted caption always differs from its text, unless that has no text tokens.

    Args:
        corrupted: number of corrupted captions of each text, >= 0.
        swap: probability that two tokens are swapped; else one is replaced.
    """

    views, negative_views = 1, 1

    def __init__(self, modality: TextModality, corrupted: int = 1, swap: float = 0.5) -> None:
        self.negative_views, self.swap = corrupted, swap
        self._special = modality.tokenizer.special
        self._fallback = [i for i in range(len(self._special) + 2) if i not in self._special][:2]

    def __call__(self, batch: TextBatch, rng: torch.Generator) -> list[View]:
        """Return the text and its corrupted captions."""
        return [View(batch), *(View(self.corrupt(batch, rng), is_negative=True) for _ in range(self.negative_views))]

    def corrupt(self, batch: TextBatch, rng: torch.Generator) -> TextBatch:
        """Return one corrupted caption of each text."""
        is_text_BT, rows_B = text_tokens(batch, self._special), torch.arange(len(batch), device=batch.device)
        first_B = _random_index(is_text_BT, rng)
        old_B = batch.ids[rows_B, first_B]
        differs_BT = is_text_BT & (batch.ids != old_B[:, None])
        second_B = _random_index(differs_BT, rng)
        swapped_B = torch.rand(len(batch), generator=rng, device=batch.device) < self.swap
        swapped_B &= differs_BT.any(1)
        new_B = torch.where(swapped_B, batch.ids[rows_B, second_B], self._replacement(batch, is_text_BT, old_B, rng))
        ids_BT = batch.ids.clone()
        ids_BT[rows_B, first_B] = torch.where(is_text_BT.any(1), new_B, old_B)
        ids_BT[rows_B, second_B] = torch.where(swapped_B, old_B, ids_BT[rows_B, second_B])
        return replace(batch, ids=ids_BT)

    def _replacement(self, batch: TextBatch, is_text_BT: Tensor, old_B: Tensor, rng: torch.Generator) -> Tensor:
        """Return for each text a token of the batch other than `old_B`; if none is found, one of the tokenizer."""
        ids_N, is_text_N = batch.ids.flatten(), is_text_BT.flatten()
        rank_N = is_text_N.cumsum(0)  # from 1, of the tokens of all texts that may be drawn
        replacement_B = torch.where(old_B == self._fallback[0], self._fallback[1], self._fallback[0])
        for _ in range(TRIES):
            draw_B = torch.rand(len(batch), generator=rng, device=batch.device, dtype=torch.float64)
            index_B = torch.searchsorted(rank_N, (draw_B * rank_N[-1]).long() + 1).clamp(max=len(ids_N) - 1)
            usable_B = is_text_N[index_B] & (ids_N[index_B] != old_B)
            replacement_B = torch.where(usable_B, ids_N[index_B], replacement_B)
        return replacement_B


def _random_index(allowed_BT: Tensor, rng: torch.Generator) -> Tensor:
    """Return a random index of a True entry of each row: int64 (B,); 0 where there is none."""
    draw_BT = torch.rand(allowed_BT.shape, generator=rng, device=allowed_BT.device)
    return draw_BT.masked_fill(~allowed_BT, -1.0).argmax(1)
