"""Regression of one view's features on another's.

Letters: B this rank's rows, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.losses.unit_vectors import unit
from sensorium.parallel import collectives


def negative_cosine(predictions_BD: Tensor, targets_BD: Tensor) -> Tensor:
    """Mean negative cosine of predictions with targets that receive no gradient (Chen and He 2021, eq. 1 and 3).

    BYOL's squared distance of unit rows (Grill et al. 2020, eq. 2) is twice this, plus 2.

    Args:
        predictions_BD: this rank's rows, any scale.
        targets_BD: the row that each predicts, any scale; the gradient stops here.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch.
    """
    with torch.autocast(predictions_BD.device.type, enabled=False):
        summed = -(unit(predictions_BD) * unit(targets_BD.detach())).sum()
        count = sum(collectives.sizes_of(len(predictions_BD), predictions_BD.device))
        return summed * collectives.world() / max(count, 1)
