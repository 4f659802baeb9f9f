"""Sigmoid contrast: every pair of rows is a question of its own, with no other to compete with.

Letters: B this rank's pairs, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.losses.contrastive import in_order, positions, share
from sensorium.losses.engine import Side, softplus, softplus_sums
from sensorium.losses.extra_negatives import Further
from sensorium.parallel import collectives


def siglip(
    x_BD: Tensor,
    y_BD: Tensor,
    scale: Tensor | float,
    bias: Tensor | float,
    groups_B: Tensor | None = None,
    further_x: Further = (),
    further_y: Further = (),
) -> Tensor:
    """Sigmoid loss of all pairs: the given ones belong together, all others do not (Zhai et al. 2023, algorithm 1).

    Args:
        x_BD: this rank's rows of one modality, any scale; they are normalized here.
        y_BD: the rows that belong to them, of the other.
        scale: exp of the learned log-scale; a scalar tensor receives its exact gradient. The paper starts at 10.
        bias: what is added to every logit; likewise. The paper starts at -10, where strangers cost next to nothing.
        groups_B: int64 ids, the same on every rank; records of one id are no negatives of each other. None makes
            every record a group of its own.
        further_x: negatives of the rows of `x` besides those of the batch: rows of the other modality.
        further_y: negatives of the rows of `y`.

    Returns:
        This rank's share of the sum over all pairs, divided by the number of records (not of pairs); the mean over
        ranks is the loss of the joined batch.
    """
    with torch.autocast(x_BD.device.type, enabled=False):
        sizes = collectives.sizes_of(len(x_BD), x_BD.device)
        ids_B = positions(sizes, x_BD.device) if groups_B is None else groups_B
        x, y = Side(x_BD, ids_B), Side(y_BD, ids_B)
        sums = softplus_sums(x, y, sizes, scale, bias, own_N=in_order(x_BD))
        strangers_B = sums.rows[:, 0]
        for side, further in ((x, further_x), (y, further_y)):
            for negatives in further:
                strangers_B = strangers_B + negatives.softplus_sums(side, scale, bias)
        return share(strangers_B.sum() + softplus(-sums.own).sum(), sum(sizes))
