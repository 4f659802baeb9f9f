"""Contrastive prediction of the future (CPC): the negatives are the futures of other records.

Letters: B this rank's rows, M joined rows of all ranks, K steps ahead, D width. Logits are dot products, without a
temperature. Everything is computed in fp32, or in fp64 when that comes in.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.losses.precision import at_least_fp32, outside_autocast
from sensorium.parallel import collectives
from sensorium.types import valid_tokens


def future_info_nce(predictions_BKD: Tensor, futures_BKD: Tensor, mask_BK: Tensor | None = None) -> Tensor:
    """InfoNCE from each prediction to the record's future, over all records (Eldele et al. 2021, eq. 3 and 4).

    A prediction k steps ahead is compared with the futures of all records k steps ahead.

    Args:
        predictions_BKD: this rank's predictions, one for each step ahead.
        futures_BKD: the encoded futures.
        mask_BK: bool, True where a future exists; None when all do. The others are neither positives nor negatives.

    Returns:
        This rank's share of the mean over all predictions with a positive and a negative; the mean over ranks is the
        loss of the joined batch. Without any such prediction it is zero.
    """
    mask_BK = valid_tokens(predictions_BKD, mask_BK)
    with outside_autocast(predictions_BKD):
        predictions_BKD = at_least_fp32(predictions_BKD)
        futures_BKD = futures_BKD.to(predictions_BKD.dtype)
        futures_MKD, first = collectives.all_gather(futures_BKD)
        mask_MK = collectives.all_gather(mask_BK.to(torch.uint8))[0].bool()
        counted_MK = mask_MK & (mask_MK.sum(0) > 1)
        logits_BKM = torch.einsum("bkd,mkd->bkm", predictions_BKD, futures_MKD)
        # The lowest finite number instead of -inf: a step that no record has then has a finite gradient.
        logits_BKM = logits_BKM.masked_fill(~mask_MK.T, torch.finfo(logits_BKM.dtype).min)
        positive_B = first + torch.arange(len(predictions_BKD), device=mask_MK.device)
        positive_BK1 = positive_B[:, None, None].expand(-1, mask_BK.shape[1], 1)
        loss_BK = logits_BKM.logsumexp(2) - logits_BKM.gather(2, positive_BK1)[..., 0]
        summed = torch.where(counted_MK[positive_B], loss_BK, 0.0).sum()
        return collectives.share(summed, counted_MK.sum())
