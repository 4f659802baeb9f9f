"""Contrast with hard and with false negatives, in the log domain: finite for every temperature in [0.01, 1].

A hard negative is weighted by its own similarity: w_j in proportion to exp(beta * logit_j), the weights of a row
summing to the number of its negatives n. Their weighted sum then needs sums over pairs alone:

    log sum_j w_j exp(logit_j) = log n + LSE_j((1 + beta) logit_j) - LSE_j(beta logit_j)

so that negatives from anywhere (the batch, a queue, mixtures) join by adding their sums, before any weight is taken.

Letters: B this rank's records, M joined records of all ranks, N rows of any kind, K sums, D width, G width of a guide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sensorium.losses.contrastive import global_index, own_index
from sensorium.losses.engine import LOG_ZERO, Embeddings, log_sum_exp, softplus
from sensorium.losses.extra_negatives import ExtraNegatives
from sensorium.losses.precision import outside_autocast
from sensorium.losses.unit_vectors import cosines, normalize_rows
from sensorium.parallel import collectives


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


@dataclass(frozen=True)
class NegativeWeighting:
    """How the negatives of a row weigh.

    Args:
        beta: how much harder negatives weigh more; 0 weighs all alike.
        alpha: weight of the own pair in the denominator, 0 or more; 0 takes it out.
        prior: the share of negatives that are of the anchor's own class, in [0, 1); they are discounted.
    """

    beta: float = 0.0
    alpha: float = 1.0
    prior: float = 0.0

    @property
    def tilts(self) -> tuple[float, ...]:
        """The tilts of the sums that `costs` needs."""
        if self.beta:
            return (1 + self.beta, self.beta, 0.0)
        return (1.0, 0.0) if self.prior else (1.0,)

    def costs(self, sums_NK: Tensor, positive_N: Tensor, scale: Tensor | float) -> Tensor:
        """Return (N,), the cross-entropy of each row, of the sums over its negatives and its own logit."""
        hard_N = sums_NK[:, 0]
        if self.beta:
            hard_N = sums_NK[:, 2] + hard_N - sums_NK[:, 1]
        if self.prior:
            hard_N = _discounted(hard_N, positive_N, sums_NK[:, -1], self.prior, scale)
        if self.alpha:
            return math.log(self.alpha) + softplus(hard_N - positive_N - math.log(self.alpha))
        return torch.where(hard_N > LOG_ZERO / 2, hard_N - positive_N, 0.0)


def hcl(
    z1_BD: Tensor,
    z2_BD: Tensor,
    temperature: Tensor | float,
    beta: float = 1.0,
    prior: float = 0.1,
    alpha: float = 1.0,
    groups_B: Tensor | None = None,
    guide: Guide | None = None,
    extra_negatives: ExtraNegatives = (),
) -> Tensor:
    """NT-Xent with hard negatives weighted up and the false among them discounted (Robinson et al. 2021, eq. 4).

    With beta 0 it is `debiased`; with prior 0 as well it is `nt_xent`.

    Args:
        z1_BD: this rank's rows of the first view, any scale; they are normalized here.
        z2_BD: the same records' rows of the second view.
        temperature: what cosines are divided by.
        beta: see `NegativeWeighting`.
        prior: likewise; about one over the number of classes.
        alpha: likewise.
        groups_B: int64 ids, the same on every rank; records of one id are no negatives of each other. None makes
            every record a group of its own.
        guide: leaves out the negatives that another model finds too alike; its rows are those of the two views.
        further: negatives of every row besides those of the batch.

    Returns:
        This rank's share of the mean over all 2M rows; the mean over ranks is the loss of the joined batch. A row
        without a negative costs nothing.
    """
    with outside_autocast(z1_BD):
        z_ND = torch.cat([z1_BD, z2_BD])
        sizes = collectives.rank_sizes(len(z1_BD), z1_BD.device)
        ids_B = global_index(sizes, z1_BD.device) if groups_B is None else groups_B
        z, other_N = Embeddings(z_ND, ids_B.repeat(2)), own_index(z_ND).roll(len(z1_BD))
        if guide is not None:
            gx_BG, gy_BG, limit_B = _guiding(guide)
            z = z._replace(guide=torch.cat([gx_BG, gy_BG]), limit=limit_B.repeat(2))
        hardness = NegativeWeighting(beta, alpha, prior)
        sums = log_sum_exp(z, z, [2 * size for size in sizes], 1 / temperature, hardness.tilts, positive_N=other_N)
        sums_NK = joined(sums.rows, z, extra_negatives, 1 / temperature, hardness)
        return collectives.share(hardness.costs(sums_NK, sums.own, 1 / temperature).sum(), 2 * sum(sizes))


def debiased(z1_BD: Tensor, z2_BD: Tensor, temperature: Tensor | float, prior: float = 0.1) -> Tensor:
    """NT-Xent that discounts the negatives that are of the anchor's own class (Chuang et al. 2020, eq. 8, M = 1).

    Args:
        z1_BD: this rank's rows of the first view, any scale; they are normalized here.
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
    prior: float = 0.0,
    extra_negatives_x: ExtraNegatives = (),
    extra_negatives_y: ExtraNegatives = (),
    both: bool = True,
) -> Tensor:
    """Symmetric InfoNCE with hard negatives weighted up (Radenovic et al. 2023, eq. 5 and 6).

    With alpha 1 and beta 0 it is `clip`; with alpha 0 the own pair leaves the denominator (decoupled).

    Args:
        x_BD: this rank's rows of one modality, any scale; they are normalized here.
        y_BD: the rows that belong to them, of the other.
        scale: exp of the learned log-scale; a scalar tensor receives its exact gradient.
        alpha: see `NegativeWeighting`.
        beta: likewise.
        groups_B: int64 ids, the same on every rank; records of one id are no negatives of each other. None makes
            every record a group of its own.
        guide: leaves out the negatives that another model finds too alike.
        prior: see `NegativeWeighting`.
        further_x: negatives of the rows of `x` besides those of the batch: rows of the other modality.
        further_y: negatives of the rows of `y`.
        both: False when rows of `x` look for those of `y`, and those of `y` for nothing.

    Returns:
        This rank's share of the mean over all 2M rows, or the M that look for one; the mean over ranks is the loss of
        the joined batch. With alpha 0 a row without a negative costs nothing.
    """
    with outside_autocast(x_BD):
        sizes = collectives.rank_sizes(len(x_BD), x_BD.device)
        ids_B = global_index(sizes, x_BD.device) if groups_B is None else groups_B
        x, y, hardness = Embeddings(x_BD, ids_B), Embeddings(y_BD, ids_B), NegativeWeighting(beta, alpha, prior)
        if guide is not None:
            gx_BG, gy_BG, limit_B = _guiding(guide)
            x, y = x._replace(guide=gx_BG, limit=limit_B), y._replace(guide=gy_BG, limit=limit_B)
        sums = log_sum_exp(x, y, sizes, scale, hardness.tilts, columns=both, positive_N=own_index(x_BD))
        costs_B = hardness.costs(joined(sums.rows, x, extra_negatives_x, scale, hardness), sums.own, scale)
        if both:
            costs_B = costs_B + hardness.costs(
                joined(sums.columns, y, extra_negatives_y, scale, hardness), sums.own, scale
            )
        return collectives.share(costs_B.sum(), (1 + both) * sum(sizes))


def joined(
    sums_NK: Tensor, x: Embeddings, extra_negatives: ExtraNegatives, scale: Tensor | float, hardness: NegativeWeighting
) -> Tensor:
    """Return sums over the negatives of the batch and further ones together."""
    for negatives in extra_negatives:
        sums_NK = torch.logaddexp(sums_NK, negatives.log_sum_exp(x, scale, hardness.tilts))
    return sums_NK


def _discounted(hard_N: Tensor, positive_N: Tensor, count_N: Tensor, prior: float, scale: Tensor | float) -> Tensor:
    """Return log of (exp(hard) - prior * n * exp(own)) / (1 - prior), held at log(n) - scale from below.

    `count_N` is log n. A row without negatives stays at `LOG_ZERO`.
    """
    gap_N = math.log(prior) + count_N + positive_N - hard_N
    left_N = hard_N + torch.log(-torch.expm1(torch.where(gap_N < 0, gap_N, -1.0))) - math.log1p(-prior)
    floor_N = torch.where(count_N > LOG_ZERO / 2, count_N - scale, LOG_ZERO)
    return torch.where((gap_N < 0) & (left_N > floor_N), left_N, floor_N)


def _guiding(guide: Guide) -> tuple[Tensor, Tensor, Tensor]:
    """Return the guide's unit rows (B, G) of both sides, and the cosine (B,) above which a record is too alike."""
    gx_BG, gy_BG = normalize_rows(guide.x_BG.detach()), normalize_rows(guide.y_BG.detach())
    return gx_BG, gy_BG, cosines(gx_BG, gy_BG) - guide.margin
