"""View generators of sequences: batched, with draws for each sequence.

Letters: B sequences, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium import SensoriumError, View, ViewGenerator, check_range, to_device
from sensorium_sequence.alphabet import MASK, SPECIAL
from sensorium_sequence.modality import SequenceModality, Sequences


def cropped(batch: Sequences, smallest: float, rng: torch.Generator) -> Sequences:
    """Return a random part of each sequence, of at least that fraction of its tokens, moved to the left."""
    length_B1 = batch.mask.sum(1, keepdim=True)
    draws_B2 = torch.rand(len(batch), 2, generator=rng, device=batch.device)
    size_B1 = (length_B1 * (smallest + (1 - smallest) * draws_B2[:, :1])).ceil().long().clamp(min=1)
    start_B1 = (draws_B2[:, 1:] * (length_B1 - size_B1 + 1)).long()
    position_T = torch.arange(batch.ids.shape[1], device=batch.device)
    mask_BT = position_T < size_B1
    index_BT = (position_T + start_B1).clamp(max=batch.ids.shape[1] - 1)
    return Sequences(batch.ids.gather(1, index_BT) * mask_BT, mask_BT)


def mutated(batch: Sequences, rate: float, size: int, rng: torch.Generator) -> Sequences:
    """Return sequences whose tokens are replaced by random ones with a probability, unknown ones aside."""
    draw_BT = torch.rand(batch.ids.shape, generator=rng, device=batch.device)
    random_BT = torch.randint(SPECIAL, size, batch.ids.shape, generator=rng, device=batch.device)
    where_BT = batch.mask & (draw_BT < rate) & (batch.ids >= SPECIAL)
    return Sequences(torch.where(where_BT, random_BT, batch.ids), batch.mask)


def reverse_complemented(batch: Sequences, where_B: Tensor, complements_V: Tensor) -> Sequences:
    """Return sequences read on the other strand where a mask is True."""
    length_B1 = batch.mask.sum(1, keepdim=True)
    position_T = torch.arange(batch.ids.shape[1], device=batch.device)
    turned_BT = complements_V[batch.ids.gather(1, (length_B1 - 1 - position_T).clamp(min=0))] * batch.mask
    return Sequences(torch.where(where_B[:, None], turned_BT, batch.ids), batch.mask)


class Plain(ViewGenerator):
    """One view: the sequence itself."""

    def __init__(self, modality: SequenceModality) -> None:
        pass

    def __call__(self, batch: Sequences, rng: torch.Generator) -> list[View]:
        """Return the sequences themselves."""
        return [View(batch)]


class Augment(ViewGenerator):
    """Cropped and mutated sequences, those of DNA on either strand (as in Lu et al. 2020, section 3).

    Args:
        crop: least fraction of the tokens that is kept, in (0, 1].
        mutate: probability that a token is replaced by a random one, in [0, 1).
        turn: probability of the reverse complement, in [0, 1]; null is .5 for DNA, and 0 for proteins, which have none.
        views: number of views, each with its own draws.
    """

    views = 2

    def __init__(
        self,
        modality: SequenceModality,
        crop: float = 0.7,
        mutate: float = 0.1,
        turn: float | None = None,
        views: int = 2,
    ) -> None:
        check_range("views 'augment'", "(0, 1]", crop=crop)
        check_range("views 'augment'", "[0, 1)", mutate=mutate)
        check_range("views 'augment'", "[0, 1]", turn=turn)
        self.alphabet, is_dna = modality.alphabet, modality.alphabet.kind == "dna"
        if turn and not is_dna:
            raise SensoriumError("The views 'augment' turn DNA only, a protein has no other strand: set turn to 0.")
        self.crop, self.mutate, self.turn, self.views = crop, mutate, 0.5 * is_dna if turn is None else turn, views

    def __call__(self, batch: Sequences, rng: torch.Generator) -> list[View]:
        """Return the views."""
        return [View(self.augmented(batch, rng)) for _ in range(self.views)]

    def augmented(self, batch: Sequences, rng: torch.Generator) -> Sequences:
        """Return sequences after one draw of every augmentation."""
        batch = mutated(cropped(batch, self.crop, rng), self.mutate, self.alphabet.size, rng)
        if not self.turn:
            return batch
        where_B = torch.rand(len(batch), generator=rng, device=batch.device) < self.turn
        (complements_V,) = to_device([self.alphabet.complements], batch.device)
        return reverse_complemented(batch, where_B, complements_V)


class Strand(ViewGenerator):
    """One view: DNA on a random strand; which one is the target "strand", int64 (B,), 1 for the reverse complement.

    It can be learned where records lie on one strand, such as genes.
    """

    target, classes = "strand", 2

    def __init__(self, modality: SequenceModality) -> None:
        if modality.alphabet.kind != "dna":
            raise SensoriumError("The views 'strand' are for DNA, a protein has no other strand: choose 'augment'.")
        self.alphabet = modality.alphabet

    def __call__(self, batch: Sequences, rng: torch.Generator) -> list[View]:
        """Return the sequences with their strands."""
        where_B = torch.rand(len(batch), generator=rng, device=batch.device) < 0.5
        (complements_V,) = to_device([self.alphabet.complements], batch.device)
        return [View(reverse_complemented(batch, where_B, complements_V), target=where_B.long())]


class TokenMask(ViewGenerator):
    """One view with masked tokens, which are its target (Devlin et al. 2019, section 3.1; DNABERT, Ji et al. 2021).

    In each sequence round(rate x its known tokens) are selected, at least one where it has any: 80 % of them become the
    mask token, 10 % a random token, 10 % are unchanged. The target "tokens" is int64 (B, T): ids of selected tokens,
    and -100, the ignored index, elsewhere; `info["masked"]` is bool (B, T), True for selected tokens.

    Args:
        rate: fraction of the tokens that is selected, in (0, 1).
    """

    target, info = "tokens", ("masked",)

    def __init__(self, modality: SequenceModality, rate: float = 0.15) -> None:
        check_range("views 'token-mask'", "(0, 1)", rate=rate)
        self.size, self.rate = modality.alphabet.size, rate

    def __call__(self, batch: Sequences, rng: torch.Generator) -> list[View]:
        """Return the view with its masked tokens as target."""
        known_BT = batch.mask & (batch.ids >= SPECIAL)
        known_B1 = known_BT.sum(1, keepdim=True)
        draw_BT = torch.rand(batch.ids.shape, generator=rng, device=batch.device).masked_fill(~known_BT, 2.0)
        count_B1 = (self.rate * known_B1).round().clamp(min=1).minimum(known_B1)
        masked_BT = draw_BT.argsort(1).argsort(1) < count_B1
        action_BT = torch.rand(batch.ids.shape, generator=rng, device=batch.device)
        random_BT = torch.randint(SPECIAL, self.size, batch.ids.shape, generator=rng, device=batch.device)
        replaced_BT = torch.where(action_BT < 0.8, MASK, torch.where(action_BT < 0.9, random_BT, batch.ids))
        view = Sequences(torch.where(masked_BT, replaced_BT, batch.ids), batch.mask)
        return [View(view, target=batch.ids.masked_fill(~masked_BT, -100), info={"masked": masked_BT})]
