"""Captions changed so that they are wrong: hard negatives of their own records.

Letters: B texts, T tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sensorium import View, ViewGenerator
from sensorium.modalities.text.batch import TextBatch
from sensorium.modalities.text.views import free

if TYPE_CHECKING:
    from sensorium.modalities.text.modality import TextModality


TRIES = 4
"""How often a token of the batch is drawn for a text; the last that differs is taken."""


class HardCaptions(ViewGenerator):
    """One view, the text itself, and wrong forms of it (NegCLIP, Yuksekgonul et al. 2023, of tokens).

    In a wrong form either two different tokens have changed places ("a dog bites a man", "a man bites a dog"), or one
    token is another text's ("a red apple", "a green apple"). A text of one kind of token can only be changed the second
    way. No wrong form is ever the text itself; one without any token that stands for text stays as it is.

    Args:
        corrupted: how many corrupted captions of each text.
        order: probability that a wrong form is one of order.
    """

    views, negative_views = 1, 1

    def __init__(self, modality: TextModality, corrupted: int = 1, order: float = 0.5) -> None:
        self.negative_views, self.order = corrupted, order
        self._special = modality.tokenizer.special
        self._plain = [i for i in range(len(self._special) + 2) if i not in self._special][:2]

    def __call__(self, batch: TextBatch, rng: torch.Generator) -> list[View]:
        """Return the text and its wrong forms."""
        return [View(batch), *(View(self.corrupt(batch, rng), is_negative=True) for _ in range(self.negative_views))]

    def corrupt(self, batch: TextBatch, rng: torch.Generator) -> TextBatch:
        """Return one wrong form of each text."""
        free_BT, rows_B = free(batch, self._special), torch.arange(len(batch), device=batch.device)
        one_B = _one_of(free_BT, rng)
        was_B = batch.ids[rows_B, one_B]
        unlike_BT = free_BT & (batch.ids != was_B[:, None])
        other_B = _one_of(unlike_BT, rng)
        in_order_B = torch.rand(len(batch), generator=rng, device=batch.device) < self.order
        in_order_B &= unlike_BT.any(1)
        new_B = torch.where(in_order_B, batch.ids[rows_B, other_B], self._foreign(batch, free_BT, was_B, rng))
        ids_BT = batch.ids.clone()
        ids_BT[rows_B, one_B] = torch.where(free_BT.any(1), new_B, was_B)
        ids_BT[rows_B, other_B] = torch.where(in_order_B, was_B, ids_BT[rows_B, other_B])
        return replace(batch, ids=ids_BT)

    def _foreign(self, batch: TextBatch, free_BT: Tensor, was_B: Tensor, rng: torch.Generator) -> Tensor:
        """Return for each text a token of the batch that is not `was_B`; where none is found, one of the tokenizer."""
        seen = batch.ids[free_BT]
        foreign_B = torch.where(was_B == self._plain[0], self._plain[1], self._plain[0])
        if not len(seen):
            return foreign_B
        for _ in range(TRIES):
            drawn_B = seen[torch.randint(len(seen), (len(batch),), generator=rng, device=batch.device)]
            foreign_B = torch.where(drawn_B != was_B, drawn_B, foreign_B)
        return foreign_B


def _one_of(among_BT: Tensor, rng: torch.Generator) -> Tensor:
    """Return, for each row, a random place where it is True: int64 (B,); 0 where none is."""
    luck_BT = torch.rand(among_BT.shape, generator=rng, device=among_BT.device)
    return luck_BT.masked_fill(~among_BT, -1.0).argmax(1)
