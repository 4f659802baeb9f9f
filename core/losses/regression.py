"""Regression of one view's features on another's.

Letters: B this rank's rows, D width.
"""

from __future__ import annotations

from torch import Tensor

from sensorium.losses.arguments import check_pairs
from sensorium.losses.precision import outside_autocast
from sensorium.losses.unit_vectors import normalize_rows
from sensorium.parallel import collectives


def negative_cosine(predictions_BD: Tensor, targets_BD: Tensor) -> Tensor:
    """SimSiam's loss: mean negative cosine of predictions and stop-gradient targets (Chen and He 2021, eq. 1 and 3).

    BYOL's squared distance of unit rows (Grill et al. 2020, eq. 2) is twice this, plus 2.

    Args:
        predictions_BD: this rank's predictions, any norm.
        targets_BD: the target of each, any norm; stop-gradient.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch.
    """
    check_pairs(predictions_BD, targets_BD)
    with outside_autocast(predictions_BD):
        summed = -(normalize_rows(predictions_BD) * normalize_rows(targets_BD.detach())).sum()
        return collectives.share(summed, collectives.count_rows(predictions_BD))
