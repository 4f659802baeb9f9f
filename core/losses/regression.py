"""Regression: of one view's features on another's, and of predictions on targets of which some are undefined.

Letters: B this rank's rows, D width.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.losses.arguments import check_choice, check_pairs
from sensorium.losses.precision import at_least_fp32, outside_autocast
from sensorium.losses.unit_vectors import normalize_rows
from sensorium.parallel import collectives

Penalty = Literal["l2", "l1", "smooth-l1"]


def penalties(predictions: Tensor, targets: Tensor, penalty: Penalty = "l2", beta: float = 1.0) -> Tensor:
    """Return the penalty of each difference, of the shape of both.

    Args:
        predictions: float.
        targets: float, of the same shape and dtype.
        penalty: of the difference: "l2" is the square, "l1" the absolute value, "smooth-l1" the absolute value minus
            beta / 2, and below beta the square over 2 beta.
        beta: threshold of "smooth-l1" between square and absolute value, > 0.
    """
    check_choice("penalty", penalty, get_args(Penalty))
    if penalty == "l2":
        return F.mse_loss(predictions, targets, reduction="none")
    if penalty == "l1":
        return F.l1_loss(predictions, targets, reduction="none")
    return F.smooth_l1_loss(predictions, targets, reduction="none", beta=beta)


def element_regression(
    predictions: Tensor, targets: Tensor, mask: Tensor, penalty: Penalty = "l2", beta: float = 1.0
) -> Tensor:
    """Mean regression penalty over the elements of a mask, each element of the joined batch with the same weight.

    Args:
        predictions: float, any shape; computed in fp32 (fp64 stays).
        targets: float, the same shape; stop-gradient. What is nan or infinite is undefined, and left out.
        mask: bool, the same shape, True at the elements that count.
        penalty: of the difference, see `masked_regression`.
        beta: of "smooth-l1", likewise.

    Returns:
        This rank's share of the mean over the elements of all ranks; the mean over ranks is the loss of the joined
        batch. Zero, with zero gradient, without an element.
    """
    with outside_autocast(predictions):
        predictions = at_least_fp32(predictions)
        targets = targets.detach().to(predictions.dtype)
        counted = mask & targets.isfinite()
        each = penalties(predictions, targets.masked_fill(~counted, 0.0), penalty, beta)
        return collectives.share(each.masked_fill(~counted, 0.0).sum(), collectives.all_reduce_sum(counted.sum()))


@torch.no_grad()
def explained_variance(predictions: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Return the fraction of the variance of standardized targets that is explained (R2), a scalar of at most 1.

    One minus the sum of squared errors over the sum of squared targets, over the joined batch of all ranks: targets
    have mean 0, so that a prediction of the mean explains 0. Without an element, 0.

    Args:
        predictions: float, any shape.
        targets: float, the same shape; what is nan or infinite is left out.
        mask: bool, the same shape, True at the elements that count.
    """
    with outside_autocast(predictions):
        counted = mask & targets.isfinite()
        predictions, targets = (x.float().masked_fill(~counted, 0.0) for x in (predictions, targets))
        sums = torch.stack([(predictions - targets).square().sum(), targets.square().sum()])
        errors, squares = collectives.all_reduce_sum(sums).unbind()
        return torch.where(squares > 0, 1 - errors / squares, 0.0)


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
