"""What contrastive objectives share about negatives: which there are, which do not count, how they weigh, and when.

An objective takes `NegativeOptions` as an option, holds a `NegativePool`, and hands what the pool says to a loss.
Each kind adds to the others, so that every contrastive objective has all of them in any combination.

Letters: B records, N rows of any kind, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.errors import RecipeError, check_range
from sensorium.losses import NO_ID, Guide, MixedNegatives, NegativeRows, mix_negatives
from sensorium.parallel import collectives


@dataclass(frozen=True)
class NegativeOptions:
    """Which negatives a contrastive objective has, which do not count, and how they weigh.

    Args:
        beta: how much harder negatives weigh more; 0 weighs all alike (Robinson et al. 2021, Radenovic et al. 2023).
        alpha: weight of the own pair in the denominator; 0 takes it out (decoupled).
        prior: share of negatives that are of the anchor's own class and are discounted (Chuang et al. 2020).
        same: records of one "group" are no negatives of each other; "record" leaves out the record alone.
        guide: a modality whose features, as its encoder gives them, say which records are too alike to be negatives
            (Solatorio 2024); for an encoder that knows its records already: frozen, or pretrained.
        margin: how far below 1 the cosine of two records' guiding features is already too alike.
        memory: how many rows of earlier batches are negatives too, on each side (Wang et al. 2020); it begins with
            random directions.
        mixed: how many negatives are mixed for each row from the hardest in memory (Kalantidis et al. 2020).
        hardest: how many of them are mixed.
        ramp: between which shares of the training beta and the number of mixtures rise from nothing to what is asked.
            The memory counts from the first on: rows of a model that still moves fast do harm.
    """

    beta: float = 0.0
    alpha: float = 1.0
    prior: float = 0.0
    exclude: Literal["record", "group"] = "record"
    guide: str | None = None
    margin: float = 0.1
    memory: int = 0
    mixed: int = 0
    hardest: int = 64
    warmup: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        check_range("negatives", "[0, inf)", beta=self.beta, alpha=self.alpha)
        check_range("negatives", "[0, 1)", prior=self.prior)
        check_range("negatives", "[0, 1]", warmup=self.warmup)
        if self.warmup[0] > self.warmup[1]:
            raise RecipeError(f"The option 'warmup' of the negatives must begin before it ends, not {self.warmup}.")
        for name, needed in NEEDS.items():
            if getattr(self, name) != getattr(type(self), name) and not any(getattr(self, other) for other in needed):
                raise RecipeError(
                    f"The option '{name}' of the negatives has no effect without {' or '.join(needed)}: leave it out."
                )

    def refuse(self, objective: str, unused: Iterable[str]) -> None:
        """Refuse options that an objective makes no use of, where they are not at their defaults.

        Raises:
            RecipeError: naming the first such option.
        """
        for name in unused:
            if getattr(self, name) != getattr(type(self), name):
                raise RecipeError(f"The objective '{objective}' makes no use of negatives.{name}: leave it out.")


NEEDS = {"margin": ("guide",), "hardest": ("mixed",), "warmup": ("beta", "mixed", "memory")}
"""Options of negatives that have no effect without one of others."""


class FeatureQueue(nn.Module):
    """A first-in-first-out queue of unit rows, the same on every rank; it begins with random directions.

    Args:
        size: how many rows it holds.
        dim: their width.
    """

    rows: Tensor
    ids: Tensor
    pushed: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("ids", torch.full((size,), NO_ID))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))

    @property
    def filled(self) -> Tensor:
        """The share of rows that came from data."""
        return (self.pushed / len(self.rows)).clamp(max=1)

    @torch.no_grad()
    def push(self, rows_BD: Tensor, ids_B: Tensor | None = None) -> None:
        """Put this rank's rows, and those of every other rank, in the place of the oldest.

        Args:
            rows_BD: any scale.
            ids_B: int64, the record of each; None when nobody will ask.
        """
        new_MD, _ = collectives.all_gather(F.normalize(rows_BD.detach().to(self.rows.dtype), dim=1))
        ids_B = self.ids.new_full((len(rows_BD),), NO_ID) if ids_B is None else ids_B
        ids_M, _ = collectives.all_gather(ids_B)
        dropped = max(len(new_MD) - len(self.rows), 0)
        places_M = (self.pushed + torch.arange(dropped, len(new_MD), device=self.rows.device)) % len(self.rows)
        # New tensors, not writes into the old ones: the loss just made still needs those for its gradient.
        self.rows = self.rows.index_copy(0, places_M, new_MD[dropped:])
        self.ids = self.ids.index_copy(0, places_M, ids_M[dropped:])
        self.pushed += len(new_MD)


class NegativePool(nn.Module):
    """What an objective holds for its negatives: their options, the memories, and how far the ramp has come.

    Args:
        asked: the options; None for plain contrast within the batch.
        names: the modalities: sides that have a memory, and of which one may be the guide.
        dim: width of the space in which rows are compared.
        waits: whether the memory counts from the beginning of the ramp only; False where it is all there is.

    Raises:
        RecipeError: when there are mixtures to be made, and no memory to make them of; when the guide is no modality.
    """

    warmup: Tensor

    def __init__(
        self, options: NegativeOptions | None, names: Iterable[str], dim: int, memory_after_warmup: bool = True
    ) -> None:
        super().__init__()
        self._waits = memory_after_warmup
        self.options = options or NegativeOptions()
        if self.options.mixed and not self.options.memory:
            raise RecipeError("In negatives, mixed needs rows to mix: set memory, to some thousands.")
        names = list(names)
        if self.options.guide is not None and self.options.guide not in names:
            raise RecipeError(
                f"In negatives, the guide '{self.options.guide}' is none of the modalities {', '.join(names)}."
            )
        kept = names if self.options.memory else ()
        self.memories = nn.ModuleDict({name: FeatureQueue(self.options.memory, dim) for name in kept})
        self.register_buffer("warmup", torch.tensor(float(self.options.warmup[1] == 0)))

    def weights(self) -> dict[str, float]:
        """Return the options of `losses.NegativeWeighting` at this step."""
        return {"beta": self.options.beta * self._now, "alpha": self.options.alpha, "prior": self.options.prior}

    def ids(self, keys_B: Mapping[str, Tensor]) -> Tensor | None:
        """Return int64 (B,): records of one id are no negatives of each other; None when the batch alone tells."""
        return keys_B[self.options.exclude] if self.memories or self.options.exclude == "group" else None

    def guide(self, pooled: Mapping[str, Tensor]) -> Guide | None:
        """Return what leaves out records that are too alike, of the features (B, G) of each modality at hand."""
        features_BG = pooled.get(self.options.guide or "")
        return None if features_BG is None else Guide(features_BG, features_BG, self.options.margin)

    def extra_negatives(
        self, name: str, anchors_ND: Tensor, ids_N: Tensor | None, wrong_MD: Tensor | None = None
    ) -> list[NegativeRows | MixedNegatives]:
        """Return the negatives of anchors besides those of the batch.

        Args:
            name: the modality, whose rows they are.
            anchors_ND: rows of the other side, any scale.
            ids_N: their ids.
            wrong_MD: this rank's rows of wrong forms of records, with gradient; None when no rank has any.
        """
        negatives: list[NegativeRows | MixedNegatives] = (
            [] if wrong_MD is None else [NegativeRows(wrong_MD, shared=False)]
        )
        if name not in self.memories or ids_N is None or (self._waits and not self._now):
            return negatives
        memory: FeatureQueue = self.memories[name]  # type: ignore[assignment]
        kept = NegativeRows(memory.rows, memory.ids)
        negatives.append(kept)
        if mixed := round(self.options.mixed * self._now):
            own = mixed // 3  # a mixture of the anchor itself is the hardest: a third of them
            negatives.append(mix_negatives(anchors_ND, ids_N, kept, self.options.hardest, mixed - own, own))
        return negatives

    def push(self, name: str, rows_BD: Tensor, keys_B: Mapping[str, Tensor]) -> None:
        """Keep a modality's rows of this step for those to come."""
        if name in self.memories:
            memory: FeatureQueue = self.memories[name]  # type: ignore[assignment]
            memory.push(rows_BD, keys_B[self.options.exclude])

    def logs(self) -> dict[str, Tensor]:
        """Return what is worth recording."""
        filled: dict[str, Any] = {f"memory/{name}": memory.filled for name, memory in self.memories.items()}
        return filled | ({"negatives_warmup": self.warmup.clone()} if self.options.warmup[1] else {})

    def after_step(self, progress: float) -> None:
        """Move along the ramp; `progress` runs from 0 to 1."""
        start, end = self.options.warmup
        if end:
            self.warmup.fill_(min(max((progress - start) / max(end - start, 1e-9), 0.0), 1.0))

    @property
    def _now(self) -> float:
        return float(self.warmup) if self.options.warmup[1] else 1.0
