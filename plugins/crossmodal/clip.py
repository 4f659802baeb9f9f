"""CLIP."""

from __future__ import annotations

import math

import torch
from torch import nn

from sensorium import Needs, Objective, Outcome, SensoriumError, losses


class CLIP(Objective):
    """Symmetric InfoNCE between two modalities (Radford et al. 2021, figure 3).

    Records that lack one of the two are left out of the loss.

    Args:
        dim: width of the joint space.
        temperature: where the learned temperature starts.
        max_scale: the scale, one over the temperature, is held at or below this.
    """

    needs = Needs(views=1, modalities="many")

    def __init__(self, dim: int = 256, temperature: float = 0.07, max_scale: float = 100.0) -> None:
        super().__init__()
        self.dim, self.max_log_scale = dim, math.log(max_scale)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))

    def build(self, encoders):
        """Make a linear map to the joint space for each of the two modalities."""
        if len(encoders) != 2:
            raise SensoriumError(
                f"The objective 'clip' aligns two modalities, the recipe has {len(encoders)} ({', '.join(encoders)})."
            )
        self.project = nn.ModuleDict({n: nn.Linear(e.dim, self.dim, bias=False) for n, e in encoders.items()})

    def embed(self, modality, pooled):
        """Map features of one modality to the joint space."""
        return self.project[modality](pooled)

    def forward(self, views, encode):
        """Contrast the records that have both modalities."""
        x_ND, y_ND = self.pairs(views, encode)
        scale = self.log_scale.exp()
        logs = {"scale": scale.detach(), "pairs": torch.tensor(float(len(x_ND)))}
        features = {name: z.detach() for name, z in zip(views, (x_ND, y_ND), strict=True)}
        return Outcome(losses.clip(x_ND, y_ND, scale), logs, features)

    def pairs(self, views, encode):
        """Return both modalities' rows, in the joint space, of the records that have both."""
        if not all(views.values()):  # no pairs here; other ranks may have some, and wait for this one's gradient
            return [self.embed(name, head.weight.new_zeros(0, head.in_features)) for name, head in self.project.items()]
        (x_view,), (y_view,) = views.values()
        both_B = x_view.present & y_view.present
        rows = []
        for view, features in zip((x_view, y_view), encode([x_view, y_view]), strict=True):
            rows.append(self.embed(view.modality, features.pooled)[both_B[view.present]])
        return rows

    def after_step(self, progress):
        """Hold the learned scale at or below its bound, outside the graph, so that its gradient never vanishes."""
        self.log_scale.data.clamp_(0.0, self.max_log_scale)
