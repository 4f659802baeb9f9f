"""Contrast against rows of earlier batches, which a queue keeps.

Letters: B this rank's rows, M rows in the queue (the same on every rank), D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium import collectives
from sensorium.losses.contrastive import share
from sensorium.losses.engine import NONE, Side
from sensorium.losses.further import NOBODY, Further, Rows
from sensorium.losses.hardness import Hardness, joined
from sensorium.losses.rows import cosines, unit


def queue_contrast(
    queries_BD: Tensor,
    keys_BD: Tensor,
    queue_MD: Tensor,
    temperature: Tensor | float,
    beta: float = 0.0,
    prior: float = 0.0,
    alpha: float = 1.0,
    ids_B: Tensor | None = None,
    queue_ids_M: Tensor | None = None,
    further: Further = (),
) -> Tensor:
    """InfoNCE of each query choosing its key among the queue's rows (He et al. 2020, eq. 1).

    Args:
        queries_BD: this rank's rows, any scale.
        keys_BD: the key of each query, any scale; the gradient stops here.
        queue_MD: earlier keys, the negatives; they carry no gradient.
        temperature: what cosines are divided by.
        beta: see `Hardness`.
        prior: likewise.
        alpha: likewise.
        ids_B: int64, the record of each query, which must not choose among earlier keys of itself; None when the
            queue holds none of them.
        queue_ids_M: int64, the record of each earlier key.
        further: negatives besides the queue.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch.
    """
    with torch.autocast(queries_BD.device.type, enabled=False):
        queries_BD, keys_BD = unit(queries_BD), unit(keys_BD.detach())
        x = Side(queries_BD, torch.full((len(queries_BD),), NOBODY - 1, device=queries_BD.device))
        x = x if ids_B is None else x._replace(ids=ids_B)
        hardness = Hardness(beta, alpha, prior)
        none_BK = queries_BD.new_full((len(queries_BD), len(hardness.tilts)), NONE)
        negatives = [Rows(queue_MD.detach(), queue_ids_M), *further]
        sums_BK = joined(none_BK, x, negatives, 1 / temperature, hardness)
        costs_B = hardness.costs(sums_BK, cosines(queries_BD, keys_BD) / temperature, 1 / temperature)
        return share(costs_B.sum(), sum(collectives.sizes_of(len(queries_BD), queries_BD.device)))


@torch.no_grad()
def nearest_rows(x_BD: Tensor, queue_MD: Tensor) -> Tensor:
    """Return for each row the queue's row of highest cosine with it (Dwibedi et al. 2021, eq. 2)."""
    with torch.autocast(x_BD.device.type, enabled=False):
        return queue_MD[(unit(x_BD) @ unit(queue_MD).T).argmax(1)]
