"""Contrast with a queue of earlier batches: MoCo's InfoNCE, NNCLR's nearest neighbors.

Letters: B this rank's rows, M rows in the queue (the same on every rank), D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.losses.arguments import check_pairs, check_positive
from sensorium.losses.engine import LOG_ZERO, Embeddings
from sensorium.losses.extra_negatives import NO_ID, ExtraNegatives
from sensorium.losses.hardness import NegativeWeighting, weighted_cross_entropy
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
    """MoCo's InfoNCE: each query's negatives are the rows of a queue, none of this batch (He et al. 2020, eq. 1).

    Args:
        queries_BD: this rank's queries, any norm; they are normalized here.
        keys_BD: each query's positive key, any norm; stop-gradient.
        negatives: the rows of a queue, and mixtures of them.
        temperature: softmax temperature, > 0, which divides cosines.
        beta: see `NegativeWeighting`.
        prior: see `NegativeWeighting`.
        alpha: see `NegativeWeighting`.
        ids_B: int64, the record of each query, whose earlier keys are no negatives; None when no key has an id.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch.
    """
    check_pairs(queries_BD, keys_BD)
    check_positive("temperature", temperature)
    with outside_autocast(queries_BD):
        positive_B = cosines(normalize_rows(queries_BD), normalize_rows(keys_BD.detach())) / temperature
        ids_B = torch.full((len(queries_BD),), NO_ID - 1, device=queries_BD.device) if ids_B is None else ids_B
        weighting, queries = NegativeWeighting(beta, alpha, prior), Embeddings(queries_BD, ids_B)
        no_sums_BK = positive_B.new_full((len(queries_BD), len(weighting.exponents)), LOG_ZERO)
        loss_B = weighted_cross_entropy(weighting, no_sums_BK, positive_B, queries, negatives, 1 / temperature)
        return collectives.share(loss_B.sum(), collectives.count_rows(queries_BD))


@torch.no_grad()
def nearest_in_queue(x_BD: Tensor, queue_MD: Tensor) -> Tensor:
    """Return each row's nearest neighbor in the queue, by cosine (NNCLR, Dwibedi et al. 2021, eq. 2).

    Args:
        x_BD: float, any norm.
        queue_MD: float, any norm, at least one row; the same on every rank.
    """
    with outside_autocast(x_BD):
        return queue_MD[(normalize_rows(x_BD) @ normalize_rows(queue_MD).T).argmax(1)]
