"""The base of cross-modal objectives: a joint embedding space, and negatives for the pairs in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from sensorium import (
    Encoders,
    JointBatch,
    JointEmbedding,
    Needs,
    NegativeOptions,
    NegativePool,
    Objective,
    Pair,
    losses,
)

Direction = Literal["both", "first", "second"]
"""Which modality of a pair, in the recipe's order, is the anchor that retrieves the other: each, or one alone."""


class CrossModalObjective(Objective):
    """Contrasts pairs of modalities in a joint embedding space.

    Args:
        dim: width of the joint embedding space.
        negatives: options of negatives: hard-negative weights, memory bank, false negatives; default in-batch.
    """

    needs = Needs(views=1, modalities="many", negative_views=True)
    remedy = "raise objective.temperature"

    def __init__(self, dim: int, negatives: NegativeOptions | None) -> None:
        super().__init__()
        self.dim, self.negative_options = dim, negatives
        self.record_keys = () if negatives is None else negatives.record_keys

    def build_space(self, encoders: Encoders, pairs: Sequence[tuple[str, str]], anchor: str | None = None) -> None:
        """Make a linear map to the joint space for each modality but a frozen anchor, and the pool of negatives."""
        self.modality_pairs = list(pairs)
        self.project = JointEmbedding(encoders, self.dim, anchor)
        self.negatives = NegativePool(self.negative_options, encoders, self.dim)

    def embed(self, modality, pooled):
        """Map features of one modality to the joint space."""
        return self.project[modality](pooled)

    def extra_negatives(self, batch: JointBatch, modalities: tuple[str, str], pair: Pair) -> dict[str, Any]:
        """Return the arguments of a loss for the negatives of a pair of modalities besides those of the batch."""
        ids_N, (x, y) = self.negatives.ids(pair.keys), modalities
        return {
            "groups_B": ids_N,
            "extra_negatives_x": self.negatives.extra_negatives(y, pair.x, ids_N, batch.negatives.get(y)),
            "extra_negatives_y": self.negatives.extra_negatives(x, pair.y, ids_N, batch.negatives.get(x)),
        }

    def contrast(
        self, batch: JointBatch, modalities: tuple[str, str], pair: Pair, scale: Tensor, direction: Direction
    ) -> Tensor:
        """Return the contrastive loss of a pair of modalities, with all its negatives."""
        guide, negatives = self.negatives.guide(pair.pooled), self.extra_negatives(batch, modalities, pair)
        x_BD, y_BD = pair.x, pair.y
        if direction == "second":
            x_BD, y_BD = y_BD, x_BD
            negatives |= {
                "extra_negatives_x": negatives["extra_negatives_y"],
                "extra_negatives_y": negatives["extra_negatives_x"],
            }
        weights, both = self.negatives.weights(), direction == "both"
        return losses.hn_nce(x_BD, y_BD, scale, guide=guide, both=both, **weights, **negatives)

    def update_memory(self, batch: JointBatch) -> None:
        """Push this step's embeddings that have a positive to the memory, where there is one."""
        if self.training and self.negatives.memories:
            for name in self.project.names:
                self.negatives.push(name, *batch.paired_rows(name, self.modality_pairs))

    def after_step(self, progress):
        """Follow the schedule of the negatives."""
        self.negatives.after_step(progress)
