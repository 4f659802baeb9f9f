"""Contrast against rows of earlier batches, which a queue keeps.

Letters: B this rank's rows, M rows in the queue (the same on every rank), D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.losses.engine import LOG_ZERO, Embeddings
from sensorium.losses.extra_negatives import NO_ID, ExtraNegatives
from sensorium.losses.hardness import NegativeWeighting, joined
from sensorium.losses.precision import outside_autocast
from sensorium.losses.unit_vectors import cosines, normalize_rows
from sensorium.parallel import collectives


def queue_info_nce(
    queries_BD: Tensor,
    keys_BD: Tensor,
    negatives: ExtraNegatives,
    temperature: Tensor | float,
    beta: float = 0.0,
    prior: float = 0.0,
    alpha: float = 1.0,
    ids_B: Tensor | None = None,
) -> Tensor:
    """InfoNCE of each query choosing its key among rows that are no keys of this batch (He et al. 2020, eq. 1).

    Args:
        queries_BD: this rank's rows, any scale.
        keys_BD: the key of each query, any scale; the gradient stops here.
        negatives: what it could be taken for: the rows of a queue, and mixtures of them.
        temperature: what cosines are divided by.
        beta: see `NegativeWeighting`.
        prior: likewise.
        alpha: likewise.
        ids_B: int64, the record of each query, whose earlier keys are no negatives; None when there are none.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch.
    """
    with outside_autocast(queries_BD):
        own_B = cosines(normalize_rows(queries_BD), normalize_rows(keys_BD.detach())) / temperature
        ids_B = torch.full((len(queries_BD),), NO_ID - 1, device=queries_BD.device) if ids_B is None else ids_B
        hardness = NegativeWeighting(beta, alpha, prior)
        none_BK = own_B.new_full((len(queries_BD), len(hardness.tilts)), LOG_ZERO)
        sums_BK = joined(none_BK, Embeddings(queries_BD, ids_B), negatives, 1 / temperature, hardness)
        costs_B = hardness.costs(sums_BK, own_B, 1 / temperature)
        return collectives.share(costs_B.sum(), collectives.count_rows(queries_BD))


@torch.no_grad()
def nearest_in_queue(x_BD: Tensor, queue_MD: Tensor) -> Tensor:
    """Return for each row the queue's row of highest cosine with it (Dwibedi et al. 2021, eq. 2)."""
    with outside_autocast(x_BD):
        return queue_MD[(normalize_rows(x_BD) @ normalize_rows(queue_MD).T).argmax(1)]
