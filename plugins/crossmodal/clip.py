"""CLIP."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Literal

import torch
from torch import nn

from sensorium import NegativeOptions, Outcome, losses
from sensorium.errors import RecipeError
from sensorium.plugins.crossmodal.cross_modal_objective import CrossModalObjective, Direction


class CLIP(CrossModalObjective):
    """CLIP: contrastive language-image pre-training (Radford et al. 2021, figure 3), of any two modalities.

    Symmetric InfoNCE between linear projections of two encoders, with a learned temperature. Records that lack one of
    the two modalities are left out of the loss.

    Args:
        temperature: initial value of the learned softmax temperature, > 0.
        max_scale: upper bound of the logit scale, one over the temperature.
        positives: the positives of a record: the "record" itself, or all of its "group" (UniCL, Yang et al. 2022).
        direction: which modality, in the recipe's order, is the anchor: "both", the "first" or the "second" alone. The
            other one is a key, and trained as such.
    """

    needs = replace(CrossModalObjective.needs, modalities=2)

    def __init__(
        self,
        dim: int = 256,
        temperature: float = 0.07,
        max_scale: float = 100.0,
        positives: Literal["record", "group"] = "record",
        negatives: NegativeOptions | None = None,
        direction: Direction = "both",
    ) -> None:
        super().__init__(dim, negatives)
        if positives == "group" and negatives:
            negatives.refuse("clip' with 'positives: group", [field.name for field in fields(negatives)])
        self.positives, self.direction, self.max_log_scale = positives, direction, math.log(max_scale)
        self.record_keys = (positives, *(negatives.record_keys if negatives else ()))
        self.log_scale = nn.Parameter(torch.tensor([math.log(1 / temperature)]))  # (1,): FSDP shards no scalars

    def build(self, encoders):
        """Make a linear map to the joint space for each of the two modalities."""
        self.build_space(encoders, [tuple(encoders)])

    def forward(self, views, encode):
        """Contrast the records that have both modalities."""
        batch, (modalities,) = self.project.embed(views, encode), self.modality_pairs
        pair, scale = batch.pair(*modalities), self.log_scale.exp().squeeze()
        if self.positives == "record":
            loss = self.contrast(batch, modalities, pair, scale, self.direction)
        elif batch.negatives:
            raise RecipeError(
                f"The objective 'clip' with 'positives: group' makes no use of negative views of "
                f"{', '.join(batch.negatives)}: leave them out, or the option positives."
            )
        else:
            x_BD, y_BD = (pair.y, pair.x) if self.direction == "second" else (pair.x, pair.y)
            loss = losses.unicl(x_BD, y_BD, scale, pair.key("group"), both=self.direction == "both")
        self.update_memory(batch)
        logs = {"scale": scale.detach(), "pairs": torch.tensor(float(len(pair.x))), **self.negatives.logs()}
        return Outcome(loss, logs, {name: z.detach() for name, z in zip(modalities, pair[:2], strict=True)})

    def logit_parameters(self):
        """Return the log of the learned logit scale, a scalar."""
        return {"log_scale": self.log_scale.detach().squeeze()}

    def after_step(self, progress):
        """Clamp the logit scale outside the graph, so that its gradient never vanishes."""
        super().after_step(progress)
        self.log_scale.data.clamp_(0.0, self.max_log_scale)
