"""Telling a record's future from the futures of other records.

Letters: B this rank's rows, M joined rows of all ranks, K steps ahead, D width. Similarities are dot products, without
a temperature. Everything is computed in fp32, or in fp64 when that comes in.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.losses.precision import outside_autocast
from sensorium.parallel import collectives


def future_info_nce(guesses_BKD: Tensor, futures_BKD: Tensor, mask_BK: Tensor | None = None) -> Tensor:
    """InfoNCE of each guess choosing its record's future among all records' (Eldele et al. 2021, equations 3 and 4).

    A guess k steps ahead is compared with what each record is k steps ahead of its own present.

    Args:
        guesses_BKD: this rank's guesses, one for each step ahead.
        futures_BKD: what came.
        mask_BK: bool, which futures there are; None when all. One that is not is neither guessed nor told from.

    Returns:
        This rank's share of the mean over all guesses that have another record's future to be told from; the mean
        over ranks is the loss of the joined batch. When there is no such guess it is zero.
    """
    if mask_BK is None:
        mask_BK = torch.ones(guesses_BKD.shape[:2], dtype=torch.bool, device=guesses_BKD.device)
    with outside_autocast(guesses_BKD):
        if guesses_BKD.dtype != torch.float64:
            guesses_BKD, futures_BKD = guesses_BKD.float(), futures_BKD.float()
        futures_MKD, first = collectives.all_gather(futures_BKD)
        mask_MK = collectives.all_gather(mask_BK.to(torch.uint8))[0].bool()
        counted_MK = mask_MK & (mask_MK.sum(0) > 1)
        scores_BKM = torch.einsum("bkd,mkd->bkm", guesses_BKD, futures_MKD)
        # The least finite number in place of -inf: a step that nobody has then has a finite gradient.
        scores_BKM = scores_BKM.masked_fill(~mask_MK.T, torch.finfo(scores_BKM.dtype).min)
        own_B = first + torch.arange(len(guesses_BKD), device=mask_MK.device)
        own_BK1 = own_B[:, None, None].expand(-1, mask_BK.shape[1], 1)
        nats_BK = scores_BKM.logsumexp(2) - scores_BKM.gather(2, own_BK1)[..., 0]
        summed = torch.where(counted_MK[own_B], nats_BK, 0.0).sum()
        return collectives.share(summed, counted_MK.sum())
