"""Contrast with hard and with false negatives, in the log domain: finite for every temperature in [0.01, 1].

A hard negative is weighted by its own similarity: w_j in proportion to exp(beta * logit_j), the weights of a row
summing to the number of its negatives n. Their weighted sum then needs sums over pairs alone:

    log sum_j w_j exp(logit_j) = log n + LSE_j((1 + beta) logit_j) - LSE_j(beta logit_j)

Letters: B this rank's records, M joined records of all ranks, N rows of any kind, K sums, D width, G width of a guide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sensorium import collectives
from sensorium.losses.contrastive import cosines, positions, share, unit
from sensorium.losses.engine import NONE, Side, log_sums, softplus


@dataclass(frozen=True)
class Guide:
    """What another model makes of the same records: pairs that it finds too alike are no negatives.

    A record is no negative of an anchor when their cosine is above that of the anchor's own pair, less the margin
    (Solatorio 2024, eq. 4 with margin 0).

    Args:
        x_BG: the guide's rows of one modality, any scale.
        y_BG: the guide's rows of the other.
        margin: how far below the own pair's cosine a record is already too alike.
    """

    x_BG: Tensor
    y_BG: Tensor
    margin: float = 0.0


def hcl(z1_BD: Tensor, z2_BD: Tensor, temperature: Tensor | float, beta: float = 1.0, prior: float = 0.1) -> Tensor:
    """NT-Xent with hard negatives weighted up and the false among them discounted (Robinson et al. 2021, eq. 4).

    With beta 0 it is `debiased`; with prior 0 as well it is `nt_xent`.

    Args:
        z1_BD: this rank's rows of the first view, any scale; they are normalised here.
        z2_BD: the same records' rows of the second view.
        temperature: what cosines are divided by.
        beta: how much harder negatives weigh more; 0 weighs all alike.
        prior: the share of negatives that are of the anchor's own class, in [0, 1).

    Returns:
        This rank's share of the mean over all 2M rows; the mean over ranks is the loss of the joined batch. A single
        record has no negative and costs nothing.
    """
    with torch.autocast(z1_BD.device.type, enabled=False):
        z1_BD, z2_BD = unit(z1_BD), unit(z2_BD)
        sizes = collectives.sizes_of(len(z1_BD), z1_BD.device)
        z = Side(torch.cat([z1_BD, z2_BD]), positions(sizes, z1_BD.device).repeat(2))
        own_N = (cosines(z1_BD, z2_BD) / temperature).repeat(2)
        hard_N = _hard(log_sums(z, z, [2 * size for size in sizes], 1 / temperature, _tilts(beta))[0], beta)
        negatives = 2 * sum(sizes) - 2
        if negatives <= 0:
            return share(0.0 * (hard_N.clamp(min=0).sum() + own_N.sum()), 2 * sum(sizes))
        pushed_N = _debias(hard_N, own_N, negatives, prior, math.log(negatives) - 1 / temperature)
        return share(softplus(pushed_N - own_N).sum(), 2 * sum(sizes))


def debiased(z1_BD: Tensor, z2_BD: Tensor, temperature: Tensor | float, prior: float = 0.1) -> Tensor:
    """NT-Xent that discounts the negatives that are of the anchor's own class (Chuang et al. 2020, eq. 8, M = 1).

    Args:
        z1_BD: this rank's rows of the first view, any scale; they are normalised here.
        z2_BD: the same records' rows of the second view.
        temperature: what cosines are divided by.
        prior: the share of negatives that are of the anchor's own class, in [0, 1).

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch.
    """
    return hcl(z1_BD, z2_BD, temperature, beta=0.0, prior=prior)


def hn_nce(
    x_BD: Tensor,
    y_BD: Tensor,
    scale: Tensor | float,
    alpha: float = 1.0,
    beta: float = 0.25,
    groups_B: Tensor | None = None,
    guide: Guide | None = None,
) -> Tensor:
    """Symmetric InfoNCE with hard negatives weighted up (Radenovic et al. 2023, eq. 5 and 6).

    With alpha 1 and beta 0 it is `clip`; with alpha 0 the own pair leaves the denominator (decoupled).

    Args:
        x_BD: this rank's rows of one modality, any scale; they are normalised here.
        y_BD: the rows that belong to them, of the other.
        scale: exp of the learned log-scale; a scalar tensor receives its exact gradient.
        alpha: weight of the own pair in the denominator, 0 or more.
        beta: how much harder negatives weigh more; 0 weighs all alike.
        groups_B: int64 ids, the same on every rank; records of one id are no negatives of each other. None makes
            every record a group of its own.
        guide: leaves out the negatives that another model finds too alike.

    Returns:
        This rank's share of the mean over all 2M rows; the mean over ranks is the loss of the joined batch. With
        alpha 0 a row without a negative costs nothing.
    """
    with torch.autocast(x_BD.device.type, enabled=False):
        x_BD, y_BD = unit(x_BD), unit(y_BD)
        sizes = collectives.sizes_of(len(x_BD), x_BD.device)
        ids_B = positions(sizes, x_BD.device) if groups_B is None else groups_B
        x, y = Side(x_BD, ids_B), Side(y_BD, ids_B)
        if guide is not None:
            x, y = _guided(x, y, guide)
        own_B = scale * cosines(x_BD, y_BD)
        sums = log_sums(x, y, sizes, scale, _tilts(beta), columns=True)
        summed = sum(_against_own(_hard(sums_BK, beta), own_B, alpha).sum() for sums_BK in sums)
        return share(summed, 2 * sum(sizes))


def _tilts(beta: float) -> tuple[float, ...]:
    """Return the tilts of the sums that `_hard` needs."""
    return (1 + beta, beta, 0.0) if beta else (1.0,)


def _hard(sums_NK: Tensor, beta: float) -> Tensor:
    """Return (N,), the log of the weighted sum of exp(logit) over each row's negatives; `NONE` without any."""
    if not beta:
        return sums_NK[:, 0]
    tilted_N, weights_N, count_N = sums_NK.unbind(1)
    return count_N + tilted_N - weights_N


def _against_own(hard_N: Tensor, own_N: Tensor, alpha: float) -> Tensor:
    """Return log(alpha exp(own) + exp(hard)) - own, for each row."""
    if alpha:
        return math.log(alpha) + softplus(hard_N - own_N - math.log(alpha))
    return torch.where(hard_N > NONE / 2, hard_N - own_N, 0.0)


def _debias(hard_N: Tensor, own_N: Tensor, negatives: int, prior: float, floor: Tensor | float) -> Tensor:
    """Return log of (exp(hard) - prior * negatives * exp(own)) / (1 - prior), held at `floor` from below."""
    if not prior:
        return hard_N
    gap_N = math.log(prior * negatives) + own_N - hard_N
    left_N = hard_N + torch.log(-torch.expm1(torch.where(gap_N < 0, gap_N, -1.0))) - math.log1p(-prior)
    floor_N = torch.as_tensor(floor, dtype=own_N.dtype, device=own_N.device).expand_as(own_N)
    return torch.where((gap_N < 0) & (left_N > floor_N), left_N, floor_N)


def _guided(x: Side, y: Side, guide: Guide) -> tuple[Side, Side]:
    gx_BG, gy_BG = unit(guide.x_BG.detach()).to(x.rows.dtype), unit(guide.y_BG.detach()).to(x.rows.dtype)
    limit_B = cosines(gx_BG, gy_BG) - guide.margin
    return x._replace(guide=gx_BG, limit=limit_B), y._replace(guide=gy_BG, limit=limit_B)
