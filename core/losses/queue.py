"""Contrast against rows of earlier batches, which a queue keeps.

Letters: B this rank's rows, M rows in the queue (the same on every rank), D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium import collectives
from sensorium.losses.contrastive import unit


def queue_contrast(queries_BD: Tensor, keys_BD: Tensor, queue_MD: Tensor, temperature: Tensor | float) -> Tensor:
    """InfoNCE of each query choosing its key among the queue's rows (He et al. 2020, eq. 1).

    Args:
        queries_BD: this rank's rows, any scale.
        keys_BD: the key of each query, any scale; the gradient stops here.
        queue_MD: earlier keys, the negatives; they carry no gradient.
        temperature: what cosines are divided by.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch.
    """
    with torch.autocast(queries_BD.device.type, enabled=False):
        queries_BD, keys_BD, queue_MD = unit(queries_BD), unit(keys_BD.detach()), unit(queue_MD.detach())
        own_B1 = (queries_BD * keys_BD).sum(1, keepdim=True)
        logits_BN = torch.cat([own_B1, queries_BD @ queue_MD.T], dim=1) / temperature
        first_B = torch.zeros(len(queries_BD), dtype=torch.int64, device=queries_BD.device)
        summed = F.cross_entropy(logits_BN, first_B, reduction="sum")
        count = sum(collectives.sizes_of(len(queries_BD), queries_BD.device))
        return summed * collectives.world() / max(count, 1)


@torch.no_grad()
def nearest_rows(x_BD: Tensor, queue_MD: Tensor) -> Tensor:
    """Return for each row the queue's row of highest cosine with it (Dwibedi et al. 2021, eq. 2)."""
    with torch.autocast(x_BD.device.type, enabled=False):
        return queue_MD[(unit(x_BD) @ unit(queue_MD).T).argmax(1)]
