"""CLIP."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

from sensorium import NegativeOptions, Outcome, exactly_two, losses
from sensorium.errors import RecipeError
from sensorium.plugins.crossmodal.joint_objective import Direction, JointObjective


class CLIP(JointObjective):
    """Symmetric InfoNCE between two modalities (Radford et al. 2021, figure 3).

    Records that lack one of the two are left out of the loss.

    Args:
        temperature: where the learned temperature starts.
        max_scale: the scale, one over the temperature, is held at or below this.
        positives: what a record looks for: the "record" itself, or all of its "group" (Yang et al. 2022).
        direction: which of the two modalities, in the recipe's order, looks for the other: "both", the "first" alone,
            or the "second" alone. One that does not look is looked for, and learns by that.
    """

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
        if positives == "group" and negatives is not None:
            raise RecipeError("In 'clip', positives: group takes no negatives of its own: leave one of the two out.")
        self.positives, self.direction, self.max_log_scale = positives, direction, math.log(max_scale)
        self.log_scale = nn.Parameter(torch.tensor([math.log(1 / temperature)]))  # (1,): FSDP shards no scalars

    def build(self, encoders):
        """Make a linear map to the joint space for each of the two modalities."""
        self.build_space(encoders, [exactly_two(encoders, "clip")])

    def forward(self, views, encode):
        """Contrast the records that have both modalities."""
        placed, (edge,) = self.project.place(views, encode, self.edges), self.edges
        pair, scale = placed.pair(*edge), self.log_scale.exp().squeeze()
        if self.positives == "group":
            x_BD, y_BD = (pair.y, pair.x) if self.direction == "second" else (pair.x, pair.y)
            loss = losses.unicl(x_BD, y_BD, scale, pair.keys["group"], both=self.direction == "both")
        else:
            loss = self.contrast(placed, edge, pair, scale, self.direction)
        self.remember(placed)
        logs = {"scale": scale.detach(), "pairs": torch.tensor(float(len(pair.x))), **self.negatives.logs()}
        features = {name: z.detach() for name, z in zip(edge, pair[:2], strict=True)}
        return Outcome(loss, logs, features)

    def logit_parameters(self):
        """Return the log of the learned scale, a scalar."""
        return {"log_scale": self.log_scale.detach().squeeze()}

    def after_step(self, progress):
        """Hold the learned scale at or below its bound, outside the graph, so that its gradient never vanishes."""
        super().after_step(progress)
        self.log_scale.data.clamp_(0.0, self.max_log_scale)
