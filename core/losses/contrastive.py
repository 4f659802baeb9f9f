"""The contrastive family: cross-entropy of similarities, rows against the rows of every rank.

Letters: B this rank's pairs, M joined rows of all ranks, D width. Similarities are cosines times a scale (one over
the temperature). Everything is computed in fp32, or in fp64 when that comes in.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium import collectives


def unit(x_ND: Tensor) -> Tensor:
    """Return rows of length one, in fp32 (fp64 stays); a zero row stays zero."""
    x_ND = x_ND if x_ND.dtype == torch.float64 else x_ND.float()
    return F.normalize(x_ND, dim=-1)


def contrast(
    anchors_ND: Tensor, keys_MD: Tensor, positives_N: Tensor, scale: Tensor | float, exclude_N: Tensor | None = None
) -> Tensor:
    """Return the summed cross-entropy of each anchor choosing its positive among the keys (InfoNCE).

    Args:
        anchors_ND: unit rows.
        keys_MD: unit rows.
        positives_N: int64, the key that belongs to each anchor.
        scale: what cosines are multiplied with, one over the temperature.
        exclude_N: int64, a key that each anchor must not see (itself), or None.
    """
    logits_NM = scale * (anchors_ND @ keys_MD.T)
    if exclude_N is not None:
        logits_NM = logits_NM.scatter(1, exclude_N[:, None], float("-inf"))
    return F.cross_entropy(logits_NM, positives_N, reduction="sum")


def clip(x_BD: Tensor, y_BD: Tensor, scale: Tensor | float) -> Tensor:
    """Symmetric InfoNCE between paired rows (Radford et al. 2021, figure 3).

    Args:
        x_BD: this rank's rows of one modality, any scale; they are normalised here.
        y_BD: the rows that belong to them, of the other.
        scale: exp of the learned log-scale; a scalar tensor receives its exact gradient.

    Returns:
        This rank's share of the mean over all 2M rows: the mean over ranks is the loss of the joined batch. Without
        any pair on any rank it is zero, with zero gradient.
    """
    with torch.autocast(x_BD.device.type, enabled=False):
        x_BD, y_BD = unit(x_BD), unit(y_BD)
        x_MD, first = collectives.gather(x_BD)
        y_MD, _ = collectives.gather(y_BD)
        positives_B = first + torch.arange(len(x_BD), device=x_BD.device)
        summed = contrast(x_BD, y_MD, positives_B, scale) + contrast(y_BD, x_MD, positives_B, scale)
        return summed * collectives.world() / max(2 * len(x_MD), 1)


def nt_xent(z1_BD: Tensor, z2_BD: Tensor, temperature: Tensor | float) -> Tensor:
    """NT-Xent between two views of each record (Chen et al. 2020, eq. 1): 2M rows, self excluded.

    Args:
        z1_BD: this rank's rows of the first view, any scale; they are normalised here.
        z2_BD: the same records' rows of the second view.
        temperature: what cosines are divided by.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch.
    """
    with torch.autocast(z1_BD.device.type, enabled=False):
        z1_BD, z2_BD = unit(z1_BD), unit(z2_BD)
        z1_MD, first = collectives.gather(z1_BD)
        z2_MD, _ = collectives.gather(z2_BD)
        m = len(z1_MD)
        mine_B = first + torch.arange(len(z1_BD), device=z1_BD.device)
        anchors, keys = torch.cat([z1_BD, z2_BD]), torch.cat([z1_MD, z2_MD])
        positives, selves = torch.cat([mine_B + m, mine_B]), torch.cat([mine_B, mine_B + m])
        summed = contrast(anchors, keys, positives, 1 / temperature, exclude_N=selves)
        return summed * collectives.world() / max(2 * m, 1)


def info_nce(anchors_BD: Tensor, keys_BD: Tensor, temperature: Tensor | float) -> Tensor:
    """One-directional InfoNCE: each anchor finds its own key among the keys of every rank (van den Oord et al. 2018).

    Args:
        anchors_BD: this rank's rows, any scale; they are normalised here.
        keys_BD: the row that belongs to each of them; the joined batch's other keys are its negatives.
        temperature: what cosines are divided by.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch.
    """
    with torch.autocast(anchors_BD.device.type, enabled=False):
        anchors_BD = unit(anchors_BD)
        keys_MD, first = collectives.gather(unit(keys_BD))
        positives_B = first + torch.arange(len(anchors_BD), device=anchors_BD.device)
        summed = contrast(anchors_BD, keys_MD, positives_B, 1 / temperature)
        return summed * collectives.world() / max(len(keys_MD), 1)
