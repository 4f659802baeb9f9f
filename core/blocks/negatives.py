"""Negatives of contrastive objectives: hard-negative weights, false negatives, queues, mixtures, warm-up.

An objective takes `NegativeOptions` as an option, owns a `NegativePool`, and passes its negatives to a loss. They
compose, so that every contrastive objective has all of them in any combination.

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
from sensorium.record_keys import Keys, key_of


@dataclass(frozen=True)
class NegativeOptions:
    """Negatives of a contrastive objective: their weights, which are excluded, and further sources of them.

    Args:
        beta: concentration of hard-negative weights, >= 0; 0 weights all equally, the papers' are 0.25 to 1 (Robinson
            et al. 2021, Radenovic et al. 2023).
        alpha: weight of the positive pair in the denominator, >= 0; 0 excludes it (decoupled, Yeh et al. 2021).
        prior: class prior, the fraction of negatives of the anchor's class, in [0, 1); they are debiased (Chuang et
            al. 2020).
        exclude: which false negatives are excluded from the denominator: those of the same "record" or "group".
        guide: modality whose features mask out false negatives (GISTEmbed, Solatorio 2024); use it for an encoder
            that is frozen or pretrained. None for no guide.
        margin: a pair whose guide cosine is above 1 minus this is a false negative.
        memory: size of the memory bank, a queue of earlier batches' embeddings that are negatives on each side (XBM,
            Wang et al. 2020), >= 0; it begins with random directions.
        mixed: number of negatives mixed for each anchor from the hardest in the memory bank (MoCHi, Kalantidis et al.
            2020).
        hardest: number of hardest negatives that are mixed.
        warmup: fractions of the training, from and to, between which beta and the number of mixtures rise from 0. The
            memory bank is used from the first fraction on, since embeddings that still change fast do harm.
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

    @property
    def record_keys(self) -> tuple[str, ...]:
        """The keys of records by which false negatives are excluded."""
        return (self.exclude,)

    def refuse(self, objective: str, unused: Iterable[str]) -> None:
        """Refuse options that an objective ignores, unless they have their defaults.

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

    Rows are pushed in the forward pass and committed in `after_step`: a step that is skipped leaves the queue as it
    was, and no step copies it.

    Args:
        size: number of rows.
        dim: width of a row.
    """

    rows: Tensor
    ids: Tensor
    pushed: Tensor
    new_rows: Tensor
    new_ids: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("ids", torch.full((size,), NO_ID))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("new_rows", torch.empty(0, dim), persistent=False)
        self.register_buffer("new_ids", torch.empty(0, dtype=torch.int64), persistent=False)

    @property
    def filled(self) -> Tensor:
        """The fraction of rows that are not the initial random ones."""
        return ((self.pushed + len(self.new_rows)) / len(self.rows)).clamp(max=1)

    @torch.no_grad()
    def push(self, rows_BD: Tensor, ids_B: Tensor | None = None) -> None:
        """Stage this rank's rows and those of every other rank, for `commit`.

        Args:
            rows_BD: any norm; they are normalized here.
            ids_B: int64, the record of each; None is `NO_ID` for all.
        """
        new_MD, _ = collectives.all_gather(F.normalize(rows_BD.detach().to(self.rows.dtype), dim=1))
        ids_B = self.ids.new_full((len(rows_BD),), NO_ID) if ids_B is None else ids_B
        ids_M, _ = collectives.all_gather(ids_B)
        self.new_rows, self.new_ids = torch.cat([self.new_rows, new_MD]), torch.cat([self.new_ids, ids_M])

    @torch.no_grad()
    def commit(self) -> None:
        """Replace the oldest rows with those that were pushed since the last commit; call it in `after_step`."""
        new = len(self.new_rows)
        dropped = max(new - len(self.rows), 0)
        index_M = (self.pushed + torch.arange(dropped, new, device=self.rows.device)) % len(self.rows)
        self.rows.index_copy_(0, index_M, self.new_rows[dropped:])
        self.ids.index_copy_(0, index_M, self.new_ids[dropped:])
        self.pushed += new
        self.new_rows, self.new_ids = self.new_rows.new_empty(0, self.rows.shape[1]), self.new_ids.new_empty(0)


class NegativePool(nn.Module):
    """The negatives of an objective: their options, the queues of each modality, and the state of the warm-up.

    Args:
        options: the options; None for in-batch negatives alone.
        names: the modalities; each has a queue, and one may be the guide.
        dim: width of the embedding space.
        memory_after_warmup: whether the memory bank is unused until the warm-up begins; False if it has all negatives.

    Raises:
        RecipeError: for mixtures without a memory bank, or a guide that is no modality.
    """

    warmup: Tensor

    def __init__(
        self, options: NegativeOptions | None, names: Iterable[str], dim: int, memory_after_warmup: bool = True
    ) -> None:
        super().__init__()
        self._memory_after_warmup = memory_after_warmup
        self.options = options or NegativeOptions()
        if self.options.mixed and not self.options.memory:
            raise RecipeError("The option 'mixed' of the negatives needs rows to mix: set memory, to some thousands.")
        names = list(names)
        if self.options.guide is not None and self.options.guide not in names:
            raise RecipeError(
                f"The guide '{self.options.guide}' of the negatives is none of the modalities {', '.join(names)}."
            )
        queues = names if self.options.memory else ()
        self.memories = nn.ModuleDict({name: FeatureQueue(self.options.memory, dim) for name in queues})
        self.register_buffer("warmup", torch.tensor(float(self.options.warmup[1] == 0)))
        self._warmup_on_host: float | None = float(self.warmup)
        self.register_load_state_dict_post_hook(_forget_warmup)

    def weights(self) -> dict[str, float]:
        """Return the options of `losses.NegativeWeighting` at this step."""
        return {
            "beta": self.options.beta * self._warmup_factor,
            "alpha": self.options.alpha,
            "prior": self.options.prior,
        }

    def ids(self, keys_B: Keys) -> Tensor | None:
        """Return int64 (B,): records of one id are no negatives of each other; None for a unique id each.

        Args:
            keys_B: what the records are recognized by; without any, as in a loop that gives none, each is unique.
        """
        if self.options.exclude == "group":
            return key_of(keys_B, "group")
        return keys_B.get("record") if self.memories else None

    def guide(self, pooled: Mapping[str, Tensor]) -> Guide | None:
        """Return the guide that masks out false negatives, from the features (B, G) of each modality."""
        features_BG = pooled.get(self.options.guide or "")
        return None if features_BG is None else Guide(features_BG, features_BG, self.options.margin)

    def extra_negatives(
        self, name: str, anchors_ND: Tensor, ids_N: Tensor | None, corrupted_MD: Tensor | None = None
    ) -> list[NegativeRows | MixedNegatives]:
        """Return the negatives of anchors besides those of the batch.

        Args:
            name: the modality of the negatives.
            anchors_ND: embeddings of the other side, any norm.
            ids_N: their ids, see `ids`.
            corrupted_MD: this rank's embeddings of negative views, with gradient; None when no rank has any.
        """
        negatives: list[NegativeRows | MixedNegatives] = (
            [] if corrupted_MD is None else [NegativeRows(corrupted_MD, shared=False)]
        )
        if name not in self.memories or (self._memory_after_warmup and not self._warmup_factor):
            return negatives
        memory: FeatureQueue = self.memories[name]  # type: ignore[assignment]
        queue = NegativeRows(memory.rows, None if ids_N is None else memory.ids)
        negatives.append(queue)
        if mixed := round(self.options.mixed * self._warmup_factor):
            with_anchor = mixed // 3  # these are the hardest
            pairs = mixed - with_anchor
            negatives.append(mix_negatives(anchors_ND, ids_N, queue, self.options.hardest, pairs, with_anchor))
        return negatives

    def push(self, name: str, rows_BD: Tensor, keys_B: Keys) -> None:
        """Push a modality's embeddings of this step into its queue.

        Args:
            name: the modality.
            rows_BD: its embeddings, any norm.
            keys_B: what their records are recognized by, or nothing.
        """
        if name in self.memories:
            memory: FeatureQueue = self.memories[name]  # type: ignore[assignment]
            memory.push(rows_BD, keys_B.get(self.options.exclude))

    def logs(self) -> dict[str, Tensor]:
        """Return the logs: filled fractions of the queues, and the warm-up."""
        filled: dict[str, Any] = {f"memory/{name}": memory.filled for name, memory in self.memories.items()}
        return filled | ({"negatives_warmup": self.warmup.clone()} if self.options.warmup[1] else {})

    def after_step(self, progress: float) -> None:
        """Commit what was pushed to the queues, and update the warm-up; `progress` runs from 0 to 1."""
        for memory in self.memories.values():
            memory.commit()  # type: ignore[operator]
        start, end = self.options.warmup
        if end:
            factor = min(max((progress - start) / max(end - start, 1e-9), 0.0), 1.0)
            self._warmup_on_host = torch.tensor(factor).item()  # in fp32, as a checkpoint has it
            self.warmup.fill_(factor)

    @property
    def _warmup_factor(self) -> float:
        """The factor of the warm-up, known on the host: the device is asked once, after a checkpoint was loaded."""
        if self._warmup_on_host is None:
            self._warmup_on_host = float(self.warmup)
        return self._warmup_on_host


def _forget_warmup(pool: NegativePool, _: object) -> None:
    pool._warmup_on_host = None
