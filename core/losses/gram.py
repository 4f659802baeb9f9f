"""Gram anchoring: a student's tokens keep the similarities that a Gram teacher's have.

Letters: B this rank's records, T tokens, D and E widths.
"""

from __future__ import annotations

from torch import Tensor

from sensorium.errors import SensoriumError
from sensorium.losses.precision import outside_autocast
from sensorium.losses.unit_vectors import normalize_rows
from sensorium.parallel import collectives


def gram_anchoring(tokens_BTD: Tensor, teacher_BTE: Tensor, mask_BT: Tensor | None = None) -> Tensor:
    """Mean squared difference of the Gram matrices of a student's and a teacher's unit tokens (DINOv3, section 4).

    The Gram matrix of a record holds the cosines of all pairs of its tokens, a token with itself included; it does not
    change when features are rotated. The paper (Siméoni et al. 2025, eq. 2) writes its squared Frobenius norm; this is
    the mean over its entries, as in the authors' code, so that one weight suits any number of tokens.

    Args:
        tokens_BTD: the student's tokens, any norm; computed in fp32 (fp64 stays).
        teacher_BTE: the Gram teacher's tokens of the same records in the same order, of any width; stop-gradient.
        mask_BT: bool, True where a token is valid; None when all are. Pairs with padding do not count.

    Returns:
        This rank's share of the mean over records of each one's mean over its pairs of tokens; the mean over ranks is
        the loss of the joined batch. Records without a valid token do not count; a token of norm zero has cosine 0.

    Raises:
        SensoriumError: for tokens of other records, or of another number.
    """
    if tokens_BTD.ndim != 3 or teacher_BTE.ndim != 3 or tokens_BTD.shape[:2] != teacher_BTE.shape[:2]:
        raise SensoriumError(
            "Gram anchoring compares tokens (B, T, D) of the same B records, T of each, but was given tensors of shapes"
            f" {tuple(tokens_BTD.shape)} and {tuple(teacher_BTE.shape)}: resize the teacher's to the student's tokens."
        )
    with outside_autocast(tokens_BTD):
        x_BTD, y_BTE = normalize_rows(tokens_BTD), normalize_rows(teacher_BTE.detach())
        difference_BTT = x_BTD @ x_BTD.mT - (y_BTE @ y_BTE.mT).to(x_BTD.dtype)
        if mask_BT is None:
            squares_B = difference_BTT.square().sum((1, 2)) / max(difference_BTT.shape[1] ** 2, 1)
            return collectives.share(squares_B.sum(), collectives.count_rows(tokens_BTD))
        count_B = mask_BT.sum(1)
        difference_BTT = difference_BTT.masked_fill(~(mask_BT[:, :, None] & mask_BT[:, None, :]), 0.0)
        mean_B = difference_BTT.square().sum((1, 2)) / count_B.square().clamp(min=1)
        return collectives.share(mean_B.sum(), collectives.all_reduce_sum((count_B > 0).sum()))
