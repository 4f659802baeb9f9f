"""What every cross-modal objective is made of: a joint space, and negatives for the pairs in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
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
    collectives,
    losses,
)

Direction = Literal["both", "first", "second"]
"""Which modality of a pair, in the recipe's order, looks for the other: each, or one alone."""


class JointObjective(Objective):
    """Compares pairs of modalities in one space.

    Args:
        dim: width of the joint space.
        negatives: which negatives there are besides those of the batch, which do not count, and how they weigh; by
            default all of the batch alike.
    """

    needs = Needs(views=1, modalities="many", negative_views=True)
    remedy = "raise objective.temperature"

    def __init__(self, dim: int, negatives: NegativeOptions | None) -> None:
        super().__init__()
        self.dim, self.negative_options = dim, negatives

    def build_space(self, encoders: Encoders, edges: Sequence[tuple[str, str]], anchor: str | None = None) -> None:
        """Make a linear map to the joint space for each modality but a frozen anchor, and the pool of negatives."""
        self.edges = list(edges)
        self.project = JointEmbedding(encoders, self.dim, anchor)
        self.negatives = NegativePool(self.negative_options, encoders, self.dim)

    def embed(self, modality, pooled):
        """Map features of one modality to the joint space."""
        return self.project[modality](pooled)

    def extra_negatives(self, placed: JointBatch, edge: tuple[str, str], pair: Pair) -> dict[str, Any]:
        """Return what a loss is to know of an edge's negatives besides the pairs themselves."""
        ids_N = self.negatives.ids(pair.keys)
        (x, y), device = edge, pair.x.device
        return {
            "groups_B": ids_N,
            "extra_negatives_x": self.negatives.extra_negatives(
                y, pair.x, ids_N, self._negative_rows(placed, y, device)
            ),
            "extra_negatives_y": self.negatives.extra_negatives(
                x, pair.y, ids_N, self._negative_rows(placed, x, device)
            ),
        }

    def contrast(
        self, placed: JointBatch, edge: tuple[str, str], pair: Pair, scale: Tensor, direction: Direction
    ) -> Tensor:
        """Return the contrast of an edge's pairs, with all that is asked of their negatives."""
        guide, extra_negatives = self.negatives.guide(pair.pooled), self.extra_negatives(placed, edge, pair)
        x_BD, y_BD = pair.x, pair.y
        if direction == "second":
            x_BD, y_BD = y_BD, x_BD
            extra_negatives |= {
                "extra_negatives_x": extra_negatives["extra_negatives_y"],
                "extra_negatives_y": extra_negatives["extra_negatives_x"],
            }
        weights, both = self.negatives.weights(), direction == "both"
        return losses.hn_nce(x_BD, y_BD, scale, guide=guide, both=both, **weights, **extra_negatives)

    def remember(self, placed: JointBatch) -> None:
        """Keep this step's rows that have a partner, where there is a memory for them."""
        if self.training and self.negatives.memories:
            for name in self.project:
                self.negatives.push(name, *placed.paired(name, self.edges))

    def after_step(self, progress):
        """Move along the ramp of the negatives."""
        self.negatives.after_step(progress)

    def _negative_rows(self, placed: JointBatch, name: str, device: torch.device) -> Tensor | None:
        """Return this rank's rows of a modality that are negatives; None when no rank has any."""
        rows_MD = placed.negatives.get(name)
        if not collectives.any_rank(rows_MD is not None, device):
            return None
        return placed.space.nothing(name)[1] if rows_MD is None else rows_MD
