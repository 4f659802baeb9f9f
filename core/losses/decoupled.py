"""Decoupled contrastive learning: the positive pair leaves the denominator.

Letters: B this rank's pairs, M joined pairs of all ranks, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.losses.arguments import check_pairs, check_positive
from sensorium.losses.precision import outside_autocast
from sensorium.losses.unit_vectors import normalize_rows
from sensorium.parallel import collectives


def decoupled_contrastive(z1_BD: Tensor, z2_BD: Tensor, temperature: Tensor | float) -> Tensor:
    """DCL: NT-Xent with only rows of *other* records in the denominator (Yeh et al. 2021, eq. 6).

    It may be negative. A single joined record has no negatives; its loss is the attraction term alone.

    Args:
        z1_BD: this rank's projections of the first view, any norm; they are normalized here.
        z2_BD: projections of the same records' second view.
        temperature: softmax temperature, > 0, which divides cosines.

    Returns:
        This rank's share of the mean over all 2M rows; the mean over ranks is the loss of the joined batch.
    """
    check_pairs(z1_BD, z2_BD)
    check_positive("temperature", temperature)
    with outside_autocast(z1_BD):
        z1_BD, z2_BD = normalize_rows(z1_BD), normalize_rows(z2_BD)
        z1_MD, first = collectives.all_gather(z1_BD)
        z2_MD, _ = collectives.all_gather(z2_BD)
        m = len(z1_MD)
        summed = -2 * (z1_BD * z2_BD).sum() / temperature
        if m > 1:
            logits_NM = torch.cat([z1_BD, z2_BD]) @ torch.cat([z1_MD, z2_MD]).T / temperature
            index_B = first + torch.arange(len(z1_BD), device=z1_BD.device)
            same_record_N2 = torch.stack([index_B, index_B + m], dim=1).repeat(2, 1)
            summed = summed + logits_NM.scatter(1, same_record_N2, float("-inf")).logsumexp(1).sum()
        else:
            summed = summed + 0.0 * (z1_MD.sum() + z2_MD.sum())  # every rank takes part in the gather's backward
        return collectives.share(summed, 2 * m)
