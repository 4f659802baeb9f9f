"""View generators of texts: batched, with draws for each example; padding and special tokens never change or move.

Letters: B texts, T tokens.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from itertools import permutations
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sensorium import View, ViewGenerator, check_range, device_constant
from sensorium.errors import RecipeError
from sensorium.modalities.text.batch import PAD, TextBatch

if TYPE_CHECKING:
    from sensorium.modalities.text.modality import TextModality


def text_tokens(batch: TextBatch, special: tuple[int, ...]) -> Tensor:
    """Return which tokens are text, bool (B, T): neither padding nor special tokens."""
    is_text_BT = batch.mask.clone()
    for i in special:
        is_text_BT &= batch.ids != i
    return is_text_BT


def delete(batch: TextBatch, p: float, special: tuple[int, ...], rng: torch.Generator) -> TextBatch:
    """Delete each text token with probability `p` and close the gaps; at least one text token of each text is kept."""
    is_text_BT = text_tokens(batch, special)
    draw_BT = torch.rand(is_text_BT.shape, generator=rng, device=batch.device).masked_fill(~is_text_BT, -1.0)
    spared_BT = draw_BT == draw_BT.amax(1, keepdim=True)
    kept_BT = batch.mask & (~is_text_BT | (draw_BT >= p) | spared_BT)
    order_BT = kept_BT.logical_not().to(torch.uint8).argsort(dim=1, stable=True)
    mask_BT = kept_BT.gather(1, order_BT)
    return TextBatch(batch.ids.gather(1, order_BT).masked_fill(~mask_BT, PAD), mask_BT)


def local_shuffle(batch: TextBatch, distance: int, special: tuple[int, ...], rng: torch.Generator) -> TextBatch:
    """Shuffle the text tokens, none by more than `distance` positions.

    Positions plus noise, uniform in [0, distance + 1), are sorted (Lample et al. 2018, section 2.3).
    """
    is_text_BT = text_tokens(batch, special)
    noise_BT = torch.rand(is_text_BT.shape, generator=rng, device=batch.device) * (distance + 1)
    position_T = torch.arange(is_text_BT.shape[1], device=batch.device)
    return permute(batch, position_T + noise_BT, is_text_BT)


def permute(batch: TextBatch, key_BT: Tensor, is_text_BT: Tensor) -> TextBatch:
    """Sort the text tokens of each text by their keys; the sort is stable."""
    # In both orders text tokens come first and the others follow in place, so that these do not move.
    slots_BT = is_text_BT.logical_not().to(torch.uint8).argsort(dim=1, stable=True)
    order_BT = key_BT.float().masked_fill(~is_text_BT, torch.inf).argsort(dim=1, stable=True)
    ids_BT = torch.empty_like(batch.ids).scatter(1, slots_BT, batch.ids.gather(1, order_BT))
    return TextBatch(ids_BT, batch.mask.clone())


@device_constant
def segment_orders(segments: int) -> Tensor:
    """Return all orders of segments, int64 (P, S), in lexicographic order."""
    return torch.tensor(list(permutations(range(segments))))


class PlainViews(ViewGenerator):
    """One view: the text without augmentation."""

    def __init__(self, modality: TextModality) -> None:
        pass

    def __call__(self, batch: TextBatch, rng: torch.Generator) -> list[View]:
        """Return the text itself."""
        return [View(batch)]


class DropoutViews(ViewGenerator):
    """Identical copies that differ by the encoder's dropout mask alone (SimCSE, Gao et al. 2021).

    Args:
        views: number of copies.
    """

    views = 2

    def __init__(self, modality: TextModality, views: int = 2) -> None:
        self.views = views

    def __call__(self, batch: TextBatch, rng: torch.Generator) -> list[View]:
        """Return the text itself, `views` times."""
        return [View(batch) for _ in range(self.views)]


class DeletionViews(ViewGenerator):
    """Random token deletion; at least one token is kept.

    Args:
        p: probability that a token is deleted, in (0, 1).
        views: number of views, each with its own draws.
    """

    views = 2

    def __init__(self, modality: TextModality, p: float = 0.1, views: int = 2) -> None:
        check_range("views 'deletion'", "(0, 1)", p=p)
        self.p, self.views, self._special = p, views, modality.tokenizer.special

    def __call__(self, batch: TextBatch, rng: torch.Generator) -> list[View]:
        """Return `views` texts with deletions."""
        return [View(delete(batch, self.p, self._special, rng)) for _ in range(self.views)]


class LocalShuffleViews(ViewGenerator):
    """Local shuffle: tokens are permuted within a short distance (Lample et al. 2018, section 2.3).

    Args:
        distance: largest number of positions that a token moves, >= 0.
        views: number of views, each with its own draws.
    """

    views = 2

    def __init__(self, modality: TextModality, distance: int = 3, views: int = 2) -> None:
        self.distance, self.views, self._special = distance, views, modality.tokenizer.special

    def __call__(self, batch: TextBatch, rng: torch.Generator) -> list[View]:
        """Return `views` shuffled texts."""
        return [View(local_shuffle(batch, self.distance, self._special, rng)) for _ in range(self.views)]


class NoisyViews(ViewGenerator):
    """Token deletion, then local shuffle: the noise model of denoising autoencoders (Lample et al. 2018, section 2.3).

    Args:
        p: probability that a token is deleted, in (0, 1).
        distance: largest number of positions that a token moves, >= 0.
        views: number of views, each with its own draws.
    """

    views = 2

    def __init__(self, modality: TextModality, p: float = 0.1, distance: int = 3, views: int = 2) -> None:
        check_range("views 'noisy'", "(0, 1)", p=p)
        self.p, self.distance, self.views = p, distance, views
        self._special = modality.tokenizer.special

    def __call__(self, batch: TextBatch, rng: torch.Generator) -> list[View]:
        """Return `views` noisy texts."""
        deleted = [delete(batch, self.p, self._special, rng) for _ in range(self.views)]
        return [View(local_shuffle(text, self.distance, self._special, rng)) for text in deleted]


class PermutationViews(ViewGenerator):
    """One view with permuted segments; the target is the permutation (after Lee et al. 2017, on video frames).

    Text tokens are split into segments of nearly equal length. The target "order" is int64 (B,), the index of the
    permutation in lexicographic order: `segments`! classes, 6 for 3 segments. Short texts have empty segments.

    Args:
        segments: number of segments, 2 to 5.
    """

    target, classes = "order", 6

    def __init__(self, modality: TextModality, segments: int = 3) -> None:
        check_range("views 'permutation'", "[2, 5]", segments=segments)
        self.segments, self.classes, self._special = segments, math.factorial(segments), modality.tokenizer.special

    def __call__(self, batch: TextBatch, rng: torch.Generator) -> list[View]:
        """Return one view with its permutation as target."""
        is_text_BT = text_tokens(batch, self._special)
        index_BT = (is_text_BT.cumsum(1) - 1).clamp(min=0)
        segment_BT = index_BT * self.segments // is_text_BT.sum(1, keepdim=True).clamp(min=1)
        orders_PS = segment_orders(batch.device, self.segments)
        target_B = torch.randint(len(orders_PS), (len(batch),), generator=rng, device=batch.device)
        key_BT = orders_PS[target_B].gather(1, segment_BT)
        return [View(permute(batch, key_BT, is_text_BT), target=target_B)]


class TokenMaskViews(ViewGenerator):
    """One view with masked tokens, which are its target, as in BERT (Devlin et al. 2019, section 3.1).

    In each text round(mask_ratio x its text tokens) are selected, and at least one. 80 % of them become the mask token,
    10 % a random token, 10 % are unchanged. The target "tokens" is int64 (B, T): the ids of selected tokens, and -100,
    the ignored index of cross-entropy, elsewhere; `info["masked"]` is bool (B, T), True for selected tokens.

    Args:
        mask_ratio: fraction of a text's tokens that is selected, in (0, 1); .15 in the paper.
    """

    target, info = "tokens", ("masked",)
    name: str

    def __init__(self, modality: TextModality, mask_ratio: float = 0.15) -> None:
        check_range(f"views '{self.name}'", "(0, 1)", mask_ratio=mask_ratio)
        self.mask_ratio, self._tokenizer = mask_ratio, modality.tokenizer
        if modality.tokenizer.mask is None:
            raise RecipeError(
                f"The views '{self.name}' need a tokenizer with a mask token, which the recipe's has not: choose 'bpe' "
                "or 'characters'."
            )

    @abstractmethod
    def priority(self, is_text_BT: Tensor, rng: torch.Generator) -> Tensor:
        """Return numbers (B, T); in each text the tokens with the smallest ones are selected."""

    def __call__(self, batch: TextBatch, rng: torch.Generator) -> list[View]:
        """Return one view with its masked tokens as target."""
        is_text_BT = text_tokens(batch, self._tokenizer.special)
        count_B = (self.mask_ratio * is_text_BT.sum(1)).round().clamp(min=1)
        order_BT = self.priority(is_text_BT, rng).masked_fill(~is_text_BT, torch.inf).argsort(dim=1, stable=True)
        masked_BT = is_text_BT & (order_BT.argsort(dim=1) < count_B[:, None])
        action_BT = torch.rand(is_text_BT.shape, generator=rng, device=batch.device)
        replaced_BT = torch.where(action_BT < 0.8, self._tokenizer.mask, batch.ids)
        replaced_BT = torch.where(action_BT >= 0.9, self._random(batch, rng), replaced_BT)
        view = TextBatch(torch.where(masked_BT, replaced_BT, batch.ids), batch.mask.clone())
        return [View(view, target=batch.ids.masked_fill(~masked_BT, -100), info={"masked": masked_BT})]

    def _random(self, batch: TextBatch, rng: torch.Generator) -> Tensor:
        """Return random ids (B, T), none of them special."""
        size, special = self._tokenizer.size, sorted(self._tokenizer.special)
        ids_BT = torch.randint(size - len(special), batch.ids.shape, generator=rng, device=batch.device)
        for i in special:  # skip each special id, smallest first
            ids_BT += ids_BT >= i
        return ids_BT


class RandomTokenMaskViews(TokenMaskViews):
    """One view with uniformly random masked tokens: masked language modeling, as in BERT (Devlin et al. 2019).

    In each text round(mask_ratio x its text tokens) are selected, and at least one. 80 % of them become the mask token,
    10 % a random token, 10 % are unchanged. The target "tokens" has their ids, and -100, the ignored index, elsewhere.
    """

    name = "random-token-mask"

    def priority(self, is_text_BT: Tensor, rng: torch.Generator) -> Tensor:
        """Return one draw for each token."""
        return torch.rand(is_text_BT.shape, generator=rng, device=is_text_BT.device)


class SpanMaskViews(TokenMaskViews):
    """One view with masked spans of tokens, as in SpanBERT (Joshi et al. 2020, section 3.1).

    Otherwise as `random-token-mask`.

    Args:
        mean_span: mean of the geometric distribution of span lengths before they are cut at `max_span`, >= 1; 5 in the
            paper.
        max_span: largest span length, >= 1; 10 in the paper.
    """

    name = "span-mask"

    def __init__(
        self, modality: TextModality, mask_ratio: float = 0.15, mean_span: float = 5.0, max_span: int = 10
    ) -> None:
        super().__init__(modality, mask_ratio)
        check_range("views 'span-mask'", "[1, inf)", mean_span=mean_span, max_span=max_span)
        self.mean_span, self.max_span = mean_span, max_span

    def priority(self, is_text_BT: Tensor, rng: torch.Generator) -> Tensor:
        """Return for each token the smallest draw among the spans that cover it; a span may start at any token."""
        size, device = is_text_BT.shape, is_text_BT.device
        draw_BT = torch.rand(size, generator=rng, device=device).masked_fill(~is_text_BT, torch.inf)
        tail_BT = 1 - torch.rand(size, generator=rng, device=device)
        log_of_going_on = math.log1p(-1 / self.mean_span) if self.mean_span > 1 else -math.inf
        span_BT = (1 + (tail_BT.log() / log_of_going_on).floor()).clamp(max=self.max_span)
        best_BT = draw_BT.clone()
        for step in range(1, min(self.max_span, size[1])):
            covers_BT = torch.where(span_BT > step, draw_BT, torch.inf)[:, :-step]
            best_BT[:, step:] = torch.minimum(best_BT[:, step:], covers_BT)
        return best_BT
