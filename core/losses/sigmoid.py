"""Sigmoid loss: every pair of rows is a binary classification of its own, without a softmax over the batch.

Letters: B this rank's pairs, D width.
"""

from __future__ import annotations

from torch import Tensor

from sensorium.losses.arguments import check_pairs
from sensorium.losses.contrastive import global_index, row_index
from sensorium.losses.engine import Embeddings, softplus, softplus_sums
from sensorium.losses.extra_negatives import ExtraNegatives
from sensorium.losses.precision import outside_autocast
from sensorium.parallel import collectives


def siglip(
    x_BD: Tensor,
    y_BD: Tensor,
    scale: Tensor | float,
    bias: Tensor | float,
    groups_B: Tensor | None = None,
    extra_negatives_x: ExtraNegatives = (),
    extra_negatives_y: ExtraNegatives = (),
) -> Tensor:
    """SigLIP: binary cross-entropy of all pairs, the paired rows positive (Zhai et al. 2023, algorithm 1).

    Args:
        x_BD: this rank's embeddings of one modality, any norm; they are normalized here.
        y_BD: the paired embeddings of the other modality.
        scale: logit scale, > 0, exp of the learned log-scale; a scalar tensor receives its exact gradient. The paper
            starts at 10.
        bias: logit bias; likewise. The paper starts at -10, where the loss of negatives is nearly zero.
        groups_B: int64 ids, the same on every rank; records of one id are no negatives of each other. None gives
            every record a unique id.
        extra_negatives_x: negatives of the rows of `x` besides those of the batch: rows of the other modality.
        extra_negatives_y: negatives of the rows of `y`.

    Returns:
        This rank's share of the sum over all pairs, divided by the number of records (not of pairs); the mean over
        ranks is the loss of the joined batch.
    """
    check_pairs(x_BD, y_BD)
    with outside_autocast(x_BD):
        sizes = collectives.rank_sizes(len(x_BD))
        ids_B = global_index(sizes, x_BD.device) if groups_B is None else groups_B
        x, y = Embeddings(x_BD, ids_B), Embeddings(y_BD, ids_B)
        sums = softplus_sums(x, y, sizes, scale, bias, positive_N=row_index(x_BD))
        negatives_B = sums.rows[:, 0]
        for side, extra_negatives in ((x, extra_negatives_x), (y, extra_negatives_y)):
            for negatives in extra_negatives:
                negatives_B = negatives_B + negatives.softplus_sums(side, scale, bias)
        return collectives.share(negatives_B.sum() + softplus(-sums.positive).sum(), sum(sizes))
