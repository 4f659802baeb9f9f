"""View generators of texts: batched, per example, sparing padding and special tokens.

Letters: B texts, T tokens. "Free" tokens are those that stand for text; the others never change and never move.
"""

from __future__ import annotations

from abc import abstractmethod
from itertools import permutations
from math import factorial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sensorium import View, ViewGenerator
from sensorium.errors import RecipeError
from sensorium.modalities.text.batch import PAD, TextBatch

if TYPE_CHECKING:
    from sensorium.modalities.text.modality import TextModality


def free(batch: TextBatch, special: tuple[int, ...]) -> Tensor:
    """Return where a token stands for text, bool (B, T): neither padding nor a special token."""
    free_BT = batch.mask.clone()
    for i in special:
        free_BT &= batch.ids != i
    return free_BT


def share(ratio: float, of: str) -> float:
    """Return `ratio` when it lies in (0, 1).

    Raises:
        RecipeError: when it does not.
    """
    if not 0 < ratio < 1:
        raise RecipeError(f"The ratio of the view generator '{of}' must lie between 0 and 1, not at {ratio}.")
    return ratio


def delete(batch: TextBatch, ratio: float, special: tuple[int, ...], rng: torch.Generator) -> TextBatch:
    """Return the batch without each free token that a draw of probability `ratio` hits, closed up to the left.

    A text whose free tokens are all hit keeps one of them.
    """
    free_BT = free(batch, special)
    luck_BT = torch.rand(free_BT.shape, generator=rng, device=batch.device).masked_fill(~free_BT, -1.0)
    luckiest_BT = luck_BT == luck_BT.amax(1, keepdim=True)
    kept_BT = batch.mask & (~free_BT | (luck_BT >= ratio) | luckiest_BT)
    order_BT = kept_BT.logical_not().to(torch.uint8).argsort(dim=1, stable=True)
    mask_BT = kept_BT.gather(1, order_BT)
    return TextBatch(batch.ids.gather(1, order_BT).masked_fill(~mask_BT, PAD), mask_BT)


def reorder(batch: TextBatch, distance: int, special: tuple[int, ...], rng: torch.Generator) -> TextBatch:
    """Return the batch with its free tokens shuffled, none moved by more than `distance` places.

    Sorting positions to each of which a number in [0, distance + 1) is added (Lample et al. 2018, section 2.3).
    """
    free_BT = free(batch, special)
    noise_BT = torch.rand(free_BT.shape, generator=rng, device=batch.device) * (distance + 1)
    place_T = torch.arange(free_BT.shape[1], device=batch.device)
    return permute(batch, place_T + noise_BT, free_BT)


def permute(batch: TextBatch, turn_BT: Tensor, free_BT: Tensor) -> TextBatch:
    """Return the batch with the free tokens of each text in the order of their turns; equals stay as they stood."""
    # In both orders free tokens come first and the others follow as they stood, so that these stay where they were.
    slots_BT = free_BT.logical_not().to(torch.uint8).argsort(dim=1, stable=True)
    order_BT = turn_BT.float().masked_fill(~free_BT, torch.inf).argsort(dim=1, stable=True)
    ids_BT = torch.empty_like(batch.ids).scatter(1, slots_BT, batch.ids.gather(1, order_BT))
    return TextBatch(ids_BT, batch.mask.clone())


class Plain(ViewGenerator):
    """One view: the text itself."""

    def __init__(self, modality: TextModality) -> None:
        pass

    def __call__(self, batch: TextBatch, rng: torch.Generator) -> list[View]:
        """Return the text itself."""
        return [View(batch)]


class Dropout(ViewGenerator):
    """Identical copies, which only the encoder's dropout tells apart (SimCSE, Gao et al. 2021).

    Args:
        views: how many copies.
    """

    views = 2

    def __init__(self, modality: TextModality, views: int = 2) -> None:
        self.views = views

    def __call__(self, batch: TextBatch, rng: torch.Generator) -> list[View]:
        """Return the text itself, `views` times."""
        return [View(batch) for _ in range(self.views)]


class Deletion(ViewGenerator):
    """Each token is left out with probability `ratio`; at least one stays.

    Args:
        ratio: the probability.
        views: how many views, each with its own draws.
    """

    views = 2

    def __init__(self, modality: TextModality, ratio: float = 0.1, views: int = 2) -> None:
        self.ratio, self.views, self._special = share(ratio, "deletion"), views, modality.tokenizer.special

    def __call__(self, batch: TextBatch, rng: torch.Generator) -> list[View]:
        """Return `views` thinned texts."""
        return [View(delete(batch, self.ratio, self._special, rng)) for _ in range(self.views)]


class Reorder(ViewGenerator):
    """Tokens are shuffled, none further than `distance` places (Lample et al. 2018).

    Args:
        distance: how far a token may move.
        views: how many views, each with its own draws.
    """

    views = 2

    def __init__(self, modality: TextModality, distance: int = 3, views: int = 2) -> None:
        self.distance, self.views, self._special = distance, views, modality.tokenizer.special

    def __call__(self, batch: TextBatch, rng: torch.Generator) -> list[View]:
        """Return `views` shuffled texts."""
        return [View(reorder(batch, self.distance, self._special, rng)) for _ in range(self.views)]


class Noisy(ViewGenerator):
    """Tokens are left out, and the rest is shuffled nearby: what a contrast of texts can use.

    Args:
        ratio: the probability that a token is left out.
        distance: how far a token may move.
        views: how many views, each with its own draws.
    """

    views = 2

    def __init__(self, modality: TextModality, ratio: float = 0.1, distance: int = 3, views: int = 2) -> None:
        self.ratio, self.distance, self.views = share(ratio, "noisy"), distance, views
        self._special = modality.tokenizer.special

    def __call__(self, batch: TextBatch, rng: torch.Generator) -> list[View]:
        """Return `views` noisy texts."""
        thinned = [delete(batch, self.ratio, self._special, rng) for _ in range(self.views)]
        return [View(reorder(thin, self.distance, self._special, rng)) for thin in thinned]


class Order(ViewGenerator):
    """One view whose segments stand in another order, to be told (Lee et al. 2017, of frames).

    The free tokens are cut into segments of nearly equal length. The target "order" is int64 (B,), the place of the
    permutation in lexicographic order: `segments`! classes, 6 for 3 segments. A text shorter than that has empty ones.

    Args:
        segments: how many, 2 to 5.
    """

    target, classes = "order", 6

    def __init__(self, modality: TextModality, segments: int = 3) -> None:
        if not 2 <= segments <= 5:
            raise RecipeError(f"The view generator 'order' cuts a text into 2 to 5 segments, not {segments}.")
        self.segments, self.classes, self._special = segments, factorial(segments), modality.tokenizer.special
        self._orders_PS = torch.tensor(list(permutations(range(segments))))

    def __call__(self, batch: TextBatch, rng: torch.Generator) -> list[View]:
        """Return one view with its order as target."""
        free_BT = free(batch, self._special)
        place_BT = (free_BT.cumsum(1) - 1).clamp(min=0)
        segment_BT = place_BT * self.segments // free_BT.sum(1, keepdim=True).clamp(min=1)
        orders_PS = self._orders_PS.to(batch.device)
        target_B = torch.randint(len(orders_PS), (len(batch),), generator=rng, device=batch.device)
        turn_BT = orders_PS[target_B].gather(1, segment_BT)
        return [View(permute(batch, turn_BT, free_BT), target=target_B)]


class Hiding(ViewGenerator):
    """One view in which some tokens are hidden, to be restored.

    Of the chosen tokens 80 % become the mask token, 10 % a random one, 10 % stay (BERT, Devlin et al. 2019, section
    3.1). In each text round(ratio x its tokens) are chosen, and at least one. The view's target is int64 (B, T): the
    ids at chosen places and -100, which cross-entropy leaves out, elsewhere; `info["masked"]` is bool (B, T), True at
    chosen places.
    """

    target, info = "tokens", ("masked",)
    name: str

    def __init__(self, modality: TextModality, ratio: float) -> None:
        self.ratio, self._tokenizer = share(ratio, self.name), modality.tokenizer
        if modality.tokenizer.mask is None:
            raise RecipeError(
                f"The view generator '{self.name}' needs a tokenizer with a mask token, which the recipe's has not; "
                "'bpe' and 'characters' have one."
            )

    @abstractmethod
    def priority(self, free_BT: Tensor, rng: torch.Generator) -> Tensor:
        """Return numbers (B, T); in each text the tokens with the smallest are chosen."""

    def __call__(self, batch: TextBatch, rng: torch.Generator) -> list[View]:
        """Return one view with its hidden tokens as target."""
        free_BT = free(batch, self._tokenizer.special)
        wanted_B = (self.ratio * free_BT.sum(1)).round().clamp(min=1)
        order_BT = self.priority(free_BT, rng).masked_fill(~free_BT, torch.inf).argsort(dim=1, stable=True)
        chosen_BT = free_BT & (order_BT.argsort(dim=1) < wanted_B[:, None])
        lot_BT = torch.rand(free_BT.shape, generator=rng, device=batch.device)
        hidden_BT = torch.where(lot_BT < 0.8, self._tokenizer.mask, batch.ids)
        hidden_BT = torch.where(lot_BT >= 0.9, self._random(batch, rng), hidden_BT)
        view = TextBatch(torch.where(chosen_BT, hidden_BT, batch.ids), batch.mask.clone())
        return [View(view, target=batch.ids.masked_fill(~chosen_BT, -100), info={"masked": chosen_BT})]

    def _random(self, batch: TextBatch, rng: torch.Generator) -> Tensor:
        """Return random ids (B, T), none of them special."""
        size, special = self._tokenizer.size, sorted(self._tokenizer.special)
        ids_BT = torch.randint(size - len(special), batch.ids.shape, generator=rng, device=batch.device)
        for i in special:  # step over each special id, smallest first
            ids_BT += ids_BT >= i
        return ids_BT


class Masked(Hiding):
    """Single tokens are hidden, to be restored (see `Hiding` for how, and for the target).

    Args:
        ratio: the share of a text's tokens that is chosen.
    """

    name = "masked"

    def __init__(self, modality: TextModality, ratio: float = 0.15) -> None:
        super().__init__(modality, ratio)

    def priority(self, free_BT: Tensor, rng: torch.Generator) -> Tensor:
        """Return one draw for each token."""
        return torch.rand(free_BT.shape, generator=rng, device=free_BT.device)


class Spans(Hiding):
    """Runs of tokens are hidden, to be restored (SpanBERT, Joshi et al. 2020; see `Hiding` for how, and the target).

    Args:
        ratio: the share of a text's tokens that is chosen.
        length: the mean of the geometric law that lengths of runs follow, before they are cut at `longest`.
        longest: the longest run.
    """

    name = "spans"

    def __init__(self, modality: TextModality, ratio: float = 0.15, length: float = 5.0, longest: int = 10) -> None:
        super().__init__(modality, ratio)
        if length < 1 or longest < 1:
            raise RecipeError(f"Spans are at least 1 token long; length is {length} and longest is {longest}.")
        self.length, self.longest = length, longest

    def priority(self, free_BT: Tensor, rng: torch.Generator) -> Tensor:
        """Return for each token the smallest draw among the runs that cover it; one may start at any token."""
        size, device = free_BT.shape, free_BT.device
        draw_BT = torch.rand(size, generator=rng, device=device).masked_fill(~free_BT, torch.inf)
        tail_BT = 1 - torch.rand(size, generator=rng, device=device)
        stop = torch.tensor(1 / self.length, device=device)
        run_BT = (1 + (tail_BT.log() / torch.log1p(-stop)).floor()).clamp(max=self.longest)
        best_BT = draw_BT.clone()
        for step in range(1, min(self.longest, size[1])):
            covers_BT = torch.where(run_BT > step, draw_BT, torch.inf)[:, :-step]
            best_BT[:, step:] = torch.minimum(best_BT[:, step:], covers_BT)
        return best_BT
