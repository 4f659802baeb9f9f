"""The hierarchical contrast of TS2Vec: aligned tokens of two views, at coarser and coarser scales.

Letters: B this rank's rows, M joined rows of all ranks, T aligned tokens, D width. Similarities are dot products, as
in the paper, without a temperature. Everything is computed in fp32, or in fp64 when that comes in.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium import collectives


def hierarchical_contrast(
    z1_BTD: Tensor,
    z2_BTD: Tensor,
    mask_BT: Tensor | None = None,
    alpha: float = 0.5,
    temporal_from: int = 0,
) -> Tensor:
    """Instance and temporal contrast between aligned tokens of two views (Yue et al. 2022, equations 1 to 3).

    A token's positive is the same token of the other view. The instance contrast tells it from that token of other
    rows, in both views; the temporal one from other tokens of its row. Then neighbours are joined by their maximum,
    and again, until one token is left; the loss is the mean over these scales.

    Args:
        z1_BTD: this rank's tokens of the first view.
        z2_BTD: the tokens of the second view that show the same.
        mask_BT: bool, which tokens are real, in each row the first ones; None when all are. Two tokens are joined when
            both are real; a row without a real token takes no part.
        alpha: weight of the instance contrast; the temporal one has the rest.
        temporal_from: the scale, counted from 0, from which on the temporal contrast is taken.

    Returns:
        This rank's share: the mean over ranks is the loss of the joined batch, rows of which are instances to each
        other wherever they live. Tokens that have nothing to be told from do not count; when none has, it is zero.
    """
    if mask_BT is None:
        mask_BT = torch.ones(z1_BTD.shape[:2], dtype=torch.bool, device=z1_BTD.device)
    with torch.autocast(z1_BTD.device.type, enabled=False):
        z_2MTD, mask_MT, first = _joined(z1_BTD, z2_BTD, mask_BT)
        mine = slice(first, first + len(z1_BTD))
        loss, scales = 0.0 * (z1_BTD.sum() + z2_BTD.sum()).to(z_2MTD.dtype), 0
        while z_2MTD.shape[2]:
            if alpha > 0:
                loss = loss + alpha * _instance(z_2MTD, mask_MT, mine)
            if alpha < 1 and z_2MTD.shape[2] > 1 and scales >= temporal_from:
                loss = loss + (1 - alpha) * _temporal(z_2MTD[:, mine], mask_MT, mine)
            scales += 1
            z_2MTD, mask_MT = _coarser(z_2MTD, mask_MT)
        return loss * collectives.world() / max(scales, 1)


def _joined(z1_BTD: Tensor, z2_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return both views (2, M, T, D) and the mask (M, T) of all ranks, and the place of this rank's first row."""
    z_B2TD = torch.stack([z1_BTD, z2_BTD], dim=1)
    z_B2TD = z_B2TD if z_B2TD.dtype == torch.float64 else z_B2TD.float()
    longest = max(collectives.sizes_of(mask_BT.shape[1], mask_BT.device))
    z_B2TD = F.pad(z_B2TD, (0, 0, 0, longest - mask_BT.shape[1]))
    mask_BT = F.pad(mask_BT, (0, longest - mask_BT.shape[1]), value=False)
    z_M2TD, first = collectives.gather(z_B2TD)
    mask_MT, _ = collectives.gather(mask_BT.to(torch.uint8))
    return z_M2TD.transpose(0, 1), mask_MT.bool(), first


def _coarser(z_2MTD: Tensor, mask_MT: Tensor) -> tuple[Tensor, Tensor]:
    """Join tokens two by two; an odd last one is left over."""
    half = z_2MTD.shape[2] // 2
    pairs_2MTpD = z_2MTD[:, :, : 2 * half].unflatten(2, (half, 2))
    return pairs_2MTpD.amax(3), mask_MT[:, : 2 * half].unflatten(1, (half, 2)).all(2)


def _instance(z_2MTD: Tensor, mask_MT: Tensor, mine: slice) -> Tensor:
    """Return this rank's part of the mean over both views' tokens that another row has too."""
    counted_MT = mask_MT & (mask_MT.sum(0) > 1)
    keys_TND = z_2MTD.flatten(0, 1).transpose(0, 1)  # N = 2M, the second view's rows after the first's
    anchors_TND = z_2MTD[:, mine].flatten(0, 1).transpose(0, 1)
    m = len(mask_MT)
    own_B = torch.arange(m, device=mask_MT.device)[mine]
    selves_N, partners_N = torch.cat([own_B, own_B + m]), torch.cat([own_B + m, own_B])
    real_TN = mask_MT.T.repeat(1, 2)
    nats_TN = _nats(anchors_TND, keys_TND, selves_N, partners_N, real_TN)
    summed = torch.where(counted_MT[mine].T.repeat(1, 2), nats_TN, 0.0).sum()
    return summed / (2 * counted_MT.sum()).clamp(min=1)


def _temporal(z_2BTD: Tensor, mask_MT: Tensor, mine: slice) -> Tensor:
    """Return this rank's part of the mean over both views' tokens whose row has another."""
    counted_MT = mask_MT & (mask_MT.sum(1, keepdim=True) > 1)
    z_BND = z_2BTD.transpose(0, 1).flatten(1, 2)  # N = 2T, the second view's tokens after the first's
    own_T = torch.arange(mask_MT.shape[1], device=mask_MT.device)
    selves_N, partners_N = torch.cat([own_T, own_T + len(own_T)]), torch.cat([own_T + len(own_T), own_T])
    real_BN = mask_MT[mine].repeat(1, 2)
    nats_BN = _nats(z_BND, z_BND, selves_N, partners_N, real_BN)
    summed = torch.where(counted_MT[mine].repeat(1, 2), nats_BN, 0.0).sum()
    return summed / (2 * counted_MT.sum()).clamp(min=1)


def _nats(anchors_GAD: Tensor, keys_GND: Tensor, selves_A: Tensor, partners_A: Tensor, real_GN: Tensor) -> Tensor:
    """Return the cross-entropy of each anchor choosing its partner among its group's real keys but itself: (G, A)."""
    scores_GAN = anchors_GAD @ keys_GND.transpose(1, 2)
    itself_AN = selves_A[:, None] == torch.arange(keys_GND.shape[1], device=selves_A.device)
    # The least finite number in place of -inf: a group without a real key then has a finite gradient.
    away_GAN = itself_AN | ~real_GN[:, None]
    scores_GAN = scores_GAN.masked_fill(away_GAN, torch.finfo(scores_GAN.dtype).min)
    positive_GA = scores_GAN.gather(2, partners_A.expand(len(scores_GAN), -1)[..., None])[..., 0]
    return scores_GAN.logsumexp(2) - positive_GA
