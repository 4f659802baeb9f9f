"""Contrast of all modalities of a record at once: GRAM, TRIANGLE, Symile."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Literal

import torch
from torch import nn

from sensorium import JointEmbedding, Needs, Objective, Outcome, collectives, losses
from sensorium.errors import RecipeError, check_range


class Volume(Objective):
    """Contrast of all modalities of a record at once: GRAM (Cicchetti et al. 2024), TRIANGLE, Symile.

    One modality's embedding, the anchor, is compared with the tuple of all others: by the volume that they span (GRAM),
    by the area of a triangle (Cicchetti et al. 2025), or by their multilinear inner product (Symile, Saporta et al.
    2024), which sees what three modalities say together and no two of them do. Records are contrasted with those that
    have the same modalities, since fewer vectors span another volume; those with one modality are left out.

    Args:
        kind: "gram", "triangle" (of the records that have all of exactly three modalities) or "symile".
        dim: width of the joint embedding space.
        temperature: initial value of the learned temperatures, one for each number of modalities, > 0.
        max_scale: upper bound of the logit scales, one over the temperature.
        cosine: weight of the mean cosine of anchor and others in the logits of "gram" and "triangle", >= 0. With 0, as
            in the papers, opposite directions are no worse than equal ones, and modalities that coincide end learning.
        anchors: modalities that are the anchor, in turn; null for each. A record that has none of them is left out.
        negatives: of "symile", "n" or "n^2" tuples for n records of a batch.
    """

    needs = Needs(views=1, modalities="many")
    record_keys = ()
    remedy = "raise objective.temperature"

    def __init__(
        self,
        kind: Literal["gram", "triangle", "symile"] = "gram",
        dim: int = 256,
        temperature: float = 0.07,
        max_scale: float = 100.0,
        cosine: float = 1.0,
        anchors: list[str] | None = None,
        negatives: Literal["n", "n^2"] = "n",
    ) -> None:
        super().__init__()
        check_range("objective 'volume'", "[0, inf)", cosine=cosine)
        without_effect = negatives != "n" if kind != "symile" else cosine != 1.0
        if without_effect:
            name = "cosine" if kind == "symile" else "negatives"
            raise RecipeError(f"The option '{name}' of 'volume' has no effect with 'kind: {kind}': leave it out.")
        self.kind, self.dim, self.cosine, self.anchors, self.negatives = kind, dim, cosine, anchors, negatives
        self.first_log_scale, self.max_log_scale = math.log(1 / temperature), math.log(max_scale)

    def build(self, encoders):
        """Make a linear map to the joint space for each modality, and a logit scale for each number of modalities."""
        names = list(encoders)
        if self.kind == "triangle" and len(names) != 3:
            raise RecipeError(f"A triangle has 3 modalities, not {', '.join(names)}: set objective.kind to gram.")
        if self.anchors is not None and (not self.anchors or set(self.anchors) - set(names)):
            raise RecipeError(f"The anchors {self.anchors} of 'volume' are not one or more of {', '.join(names)}.")
        sizes = [3] if self.kind == "triangle" else range(2, len(names) + 1)
        patterns = [pattern for size in sizes for pattern in combinations(names, size)]
        anchors = [[i for i, name in enumerate(p) if name in (self.anchors or names)] for p in patterns]
        self.patterns = {pattern: of_it for pattern, of_it in zip(patterns, anchors, strict=True) if of_it}
        self.modality_pairs = list(combinations(names, 2))
        self.project = JointEmbedding(encoders, self.dim)
        self.log_scales_K = nn.Parameter(torch.full((len(names) - 1,), self.first_log_scale))

    def forward(self, views, encode):
        """Contrast the records of each pattern of presence, weighted by their number in the joined batch."""
        batch = self.project.embed(views, encode)
        own = [batch.count(pattern) for pattern in self.patterns]
        counts = [sum(of_ranks) for of_ranks in zip(*collectives.all_gather_objects(own), strict=True)]
        # The graph holds all weights, so that every rank has their gradients, whatever its records lack.
        loss = self.log_scales_K[:0].sum() + sum(rows_BD[:0].sum() for rows_BD in batch.rows.values())
        for (pattern, anchors), count in zip(self.patterns.items(), counts, strict=True):
            if count:
                loss = loss + count / sum(counts) * self.contrast(batch.tuples(pattern), anchors)
        logs = {f"scale/{size}": scale.exp() for size, scale in enumerate(self.log_scales_K.detach(), 2)}
        logs |= {"tuples": torch.tensor(float(sum(own)))} | batch.mean_cosines(self.modality_pairs)
        return Outcome(loss, logs, {name: rows_BD.detach() for name, rows_BD in batch.rows.items()})

    def contrast(self, z, anchors):
        """Return the loss of records with the same modalities, (N, D) each."""
        scale = self.log_scales_K[len(z) - 2].exp()
        if self.kind == "symile":
            return losses.symile(z, scale, self.negatives, anchors)
        return losses.volume_contrast(z, scale, self.kind, self.cosine, anchors)

    def embed(self, modality, pooled):
        """Map features of one modality to the joint space."""
        return self.project[modality](pooled)

    def after_step(self, progress):
        """Clamp the logit scales outside the graph, so that their gradient never vanishes."""
        self.log_scales_K.data.clamp_(0.0, self.max_log_scale)
