"""Alignment of any number of modalities, as in ImageBind."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from sensorium import NegativeOptions, Outcome, collectives, to_device
from sensorium.errors import RecipeError
from sensorium.plugins.crossmodal.cross_modal_objective import CrossModalObjective, Direction
from sensorium.plugins.crossmodal.modality_pairs import freeze_anchor, logs_by_pair, resolve_pairs, resolve_weights


class Align(CrossModalObjective):
    """Align: CLIP's loss on pairs of any number of modalities; as a star, ImageBind (Girdhar et al. 2023, eq. 1).

    All modalities are mapped to one joint embedding space. The loss is the weighted mean over the pairs of modalities
    that have records with both in the joined batch; a modality without records gets no gradient.

    Args:
        pairs: which modalities are contrasted: "all" pairs; "star", the first modality with each other; "chain", each
            with the next; or a list of pairs.
        weights: weight of each pair, in their order, > 0; null weighs all alike.
        temperature: initial value of the learned temperatures, one for each pair, > 0.
        max_scale: upper bound of the logit scales, one over the temperature.
        dim: width of the joint embedding space; null is the anchor's width, or 256 without an anchor.
        anchor: a modality whose features are the joint space as they are: its encoder is frozen.
        direction: which modality of each pair is the anchor: "both", the "first" or the "second" alone. The other one
            is a key, and trained as such.
    """

    def __init__(
        self,
        pairs: Literal["all", "star", "chain"] | list[tuple[str, str]] = "all",
        weights: list[float] | None = None,
        dim: int | None = None,
        temperature: float = 0.07,
        max_scale: float = 100.0,
        anchor: str | None = None,
        negatives: NegativeOptions | None = None,
        direction: Direction = "both",
    ) -> None:
        super().__init__(dim or 256, negatives)
        self.given_dim = dim
        self.pairs, self.weights, self.anchor, self.direction = pairs, weights, anchor, direction
        self.first_log_scale, self.max_log_scale = math.log(1 / temperature), math.log(max_scale)

    def build(self, encoders):
        """Make a linear map to the joint space for each modality but the anchor, and a logit scale for each pair."""
        if self.anchor is not None:
            self.dim = freeze_anchor(self.anchor, encoders)
            if self.given_dim not in (None, self.dim):
                raise RecipeError(
                    f"The joint space of 'align' with the anchor '{self.anchor}' is {self.dim} wide, not the given dim "
                    f"of {self.given_dim}: leave dim out."
                )
        self.build_space(encoders, resolve_pairs(self.pairs, list(encoders)), self.anchor)
        self.register_buffer(
            "weights_E", torch.tensor(resolve_weights(self.weights, self.modality_pairs)), persistent=False
        )
        self.log_scales_E = nn.Parameter(torch.full((len(self.modality_pairs),), self.first_log_scale))

    def forward(self, views, encode):
        """Contrast, for each pair of modalities, the records that have both."""
        scales_E, batch = self.log_scales_E.exp(), self.project.embed(views, encode)
        each, counts = [], []
        features: dict[str, Tensor] = {}
        for modalities, scale in zip(self.modality_pairs, scales_E, strict=True):
            pair = batch.pair(*modalities)
            each.append(self.contrast(batch, modalities, pair, scale, self.direction))
            counts.append(len(pair.x))
            features |= {name: z.detach() for name, z in zip(modalities, pair[:2], strict=True)}
        self.update_memory(batch)
        each_E = torch.stack(each)
        on_any_rank = [float(any(collectives.rank_sizes(count))) for count in counts]
        counts_E, on_any_rank_E = to_device([[float(count) for count in counts], on_any_rank], each_E.device)
        weights_E = self.weights_E * on_any_rank_E
        logs = logs_by_pair(self.modality_pairs, loss=each_E, scale=scales_E, pairs=counts_E) | self.negatives.logs()
        return Outcome((each_E * weights_E).sum() / weights_E.sum().clamp(min=1e-9), logs, features)

    def after_step(self, progress):
        """Clamp the logit scales outside the graph, so that their gradient never vanishes."""
        super().after_step(progress)
        self.log_scales_E.data.clamp_(0.0, self.max_log_scale)
