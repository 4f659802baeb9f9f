"""Batch norm that knows which steps are real.

Letters: B signals, D channels, T steps, N rows of any kind.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StepNorm(nn.BatchNorm1d):
    """Batch norm over the real steps alone, of maps with any axes between channels and steps."""

    def forward(self, x: Tensor, steps_BT: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Normalise (B, D, ..., T); padding comes out as zero.

        Args:
            x: what is normalised.
            steps_BT: bool, which steps are real; None when all are, which is quicker.
        """
        if steps_BT is None:
            return super().forward(x.flatten(2)).view_as(x)
        last = x.movedim(1, -1)
        real = steps_BT.view(len(x), *[1] * (x.ndim - 3), -1).expand(last.shape[:-1])
        normed_ND = super().forward(last[real])
        return torch.zeros_like(last).masked_scatter(real[..., None], normed_ND).movedim(-1, 1)
