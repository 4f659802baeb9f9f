"""Decoupled contrast: the positive pair attracts and leaves the repulsion to strangers.

Letters: B this rank's pairs, M joined pairs of all ranks, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.losses.precision import outside_autocast
from sensorium.losses.unit_vectors import normalize_rows
from sensorium.parallel import collectives


def decoupled_contrastive(z1_BD: Tensor, z2_BD: Tensor, temperature: Tensor | float) -> Tensor:
    """NT-Xent whose denominator holds the rows of *other* records only (Yeh et al. 2021, eq. 6).

    It may be below zero. A single joined record has none to be repelled by: attraction alone is left.

    Args:
        z1_BD: this rank's rows of the first view, any scale; they are normalized here.
        z2_BD: the same records' rows of the second view.
        temperature: what cosines are divided by.

    Returns:
        This rank's share of the mean over all 2M rows; the mean over ranks is the loss of the joined batch.
    """
    with outside_autocast(z1_BD):
        z1_BD, z2_BD = normalize_rows(z1_BD), normalize_rows(z2_BD)
        z1_MD, first = collectives.all_gather(z1_BD)
        z2_MD, _ = collectives.all_gather(z2_BD)
        m = len(z1_MD)
        summed = -2 * (z1_BD * z2_BD).sum() / temperature
        if m > 1:
            logits_NM = torch.cat([z1_BD, z2_BD]) @ torch.cat([z1_MD, z2_MD]).T / temperature
            mine_B = first + torch.arange(len(z1_BD), device=z1_BD.device)
            own_N2 = torch.stack([mine_B, mine_B + m], dim=1).repeat(2, 1)
            summed = summed + logits_NM.scatter(1, own_N2, float("-inf")).logsumexp(1).sum()
        else:
            summed = summed + 0.0 * (z1_MD.sum() + z2_MD.sum())  # every rank takes part in the gather's backward
        return collectives.share(summed, 2 * m)
