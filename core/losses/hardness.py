"""Contrastive losses with hard-negative weights and debiasing, finite for every temperature in [0.01, 1].

A negative is weighted by its own similarity: w_j in proportion to exp(beta * logit_j), the weights of a row summing to
the number of its negatives n. In the log domain the weighted sum needs unweighted sums over pairs alone:

    log sum_j w_j exp(logit_j) = log n + LSE_j((1 + beta) logit_j) - LSE_j(beta logit_j)

so that negatives from anywhere (the batch, a queue, mixtures) join by adding their sums, before any weight is taken.

Letters: B this rank's records, M joined records of all ranks, N rows of any kind, K exponents, D width, G width of a
guide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sensorium.losses.arguments import check_pairs, check_positive
from sensorium.losses.contrastive import global_index, row_index
from sensorium.losses.engine import LOG_ZERO, Embeddings, log_sum_exp, softplus
from sensorium.losses.extra_negatives import ExtraNegatives
from sensorium.losses.precision import outside_autocast
from sensorium.losses.unit_vectors import cosines, normalize_rows
from sensorium.parallel import collectives


@dataclass(frozen=True)
class Guide:
    """GISTEmbed: a guide model's embeddings of the same records, which mask out false negatives.

    A pair is a false negative, excluded from the denominator, when its guide cosine is above that of the anchor's
    positive pair, minus the margin (Solatorio 2024, eq. 4 with margin 0).

    Args:
        x_BG: the guide's embeddings of one modality, any norm.
        y_BG: the guide's embeddings of the other.
        margin: how far below the positive pair's cosine a record is already a false negative.
    """

    x_BG: Tensor
    y_BG: Tensor
    margin: float = 0.0


@dataclass(frozen=True)
class NegativeWeighting:
    """The weights of a row's negatives, and of its positive in the denominator.

    Args:
        beta: concentration of the hard-negative weights, >= 0; 0 weights all negatives equally.
        alpha: weight of the positive pair in the denominator, >= 0; 0 excludes it (decoupled).
        prior: class prior, the fraction of negatives of the anchor's class, in [0, 1); they are debiased.
    """

    beta: float = 0.0
    alpha: float = 1.0
    prior: float = 0.0

    @property
    def exponents(self) -> tuple[float, ...]:
        """The exponents of the sums that `cross_entropy` needs."""
        if self.beta:
            return (1 + self.beta, self.beta, 0.0)
        return (1.0, 0.0) if self.prior else (1.0,)

    def cross_entropy(self, sums_NK: Tensor, positive_N: Tensor, scale: Tensor | float) -> Tensor:
        """Return (N,), the cross-entropy of each row from the sums over its negatives and its positive logit."""
        negatives_N = sums_NK[:, 0]
        if self.beta:
            negatives_N = sums_NK[:, 2] + negatives_N - sums_NK[:, 1]
        if self.prior:
            negatives_N = _debias(negatives_N, positive_N, sums_NK[:, -1], self.prior, scale)
        if self.alpha:
            return math.log(self.alpha) + softplus(negatives_N - positive_N - math.log(self.alpha))
        return torch.where(negatives_N > LOG_ZERO / 2, negatives_N - positive_N, 0.0)


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
    """HCL: NT-Xent with hard-negative weights and debiasing (Robinson et al. 2021, eq. 4).

    With beta 0 it is `debiased`; with prior 0 as well it is `nt_xent`.

    Args:
        z1_BD: this rank's projections of the first view, any norm; they are normalized here.
        z2_BD: projections of the same records' second view.
        temperature: softmax temperature, > 0, which divides cosines.
        beta: see `NegativeWeighting`.
        prior: see `NegativeWeighting`; about one over the number of classes.
        alpha: see `NegativeWeighting`.
        groups_B: int64 ids, the same on every rank; records of one id are no negatives of each other. None gives
            every record a unique id.
        guide: masks out false negatives by a guide model's embeddings of the two views.
        extra_negatives: negatives of every row besides those of the batch.

    Returns:
        This rank's share of the mean over all 2M rows; the mean over ranks is the loss of the joined batch. The loss
        of a row without a negative is zero.
    """
    check_pairs(z1_BD, z2_BD)
    check_positive("temperature", temperature)
    with outside_autocast(z1_BD):
        z_ND = torch.cat([z1_BD, z2_BD])
        sizes = collectives.rank_sizes(len(z1_BD))
        ids_B = global_index(sizes, z1_BD.device) if groups_B is None else groups_B
        z, positive_N = Embeddings(z_ND, ids_B.repeat(2)), row_index(z_ND).roll(len(z1_BD))
        if guide is not None:
            gx_BG, gy_BG, limit_B = _guide_rows(guide)
            z = z._replace(guide=torch.cat([gx_BG, gy_BG]), limit=limit_B.repeat(2))
        weighting = NegativeWeighting(beta, alpha, prior)
        sums = log_sum_exp(
            z, z, [2 * size for size in sizes], 1 / temperature, weighting.exponents, positive_N=positive_N
        )
        loss_N = weighted_cross_entropy(weighting, sums.rows, sums.positive, z, extra_negatives, 1 / temperature)
        return collectives.share(loss_N.sum(), 2 * sum(sizes))


def debiased(z1_BD: Tensor, z2_BD: Tensor, temperature: Tensor | float, prior: float = 0.1) -> Tensor:
    """Debiased contrastive loss: NT-Xent that corrects for false negatives (Chuang et al. 2020, eq. 8, M = 1).

    Args:
        z1_BD: this rank's projections of the first view, any norm; they are normalized here.
        z2_BD: projections of the same records' second view.
        temperature: softmax temperature, > 0, which divides cosines.
        prior: class prior, the fraction of negatives of the anchor's class, in [0, 1).

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
    """HN-NCE: symmetric InfoNCE with hard-negative weights (Radenovic et al. 2023, eq. 5 and 6).

    With alpha 1 and beta 0 it is `clip`; with alpha 0 the positive pair leaves the denominator (decoupled).

    Args:
        x_BD: this rank's embeddings of one modality, any norm; they are normalized here.
        y_BD: the paired embeddings of the other modality.
        scale: logit scale, > 0, exp of the learned log-scale; a scalar tensor receives its exact gradient.
        alpha: see `NegativeWeighting`.
        beta: see `NegativeWeighting`.
        groups_B: int64 ids, the same on every rank; records of one id are no negatives of each other. None gives
            every record a unique id.
        guide: masks out false negatives by a guide model's embeddings.
        prior: see `NegativeWeighting`.
        extra_negatives_x: negatives of the rows of `x` besides those of the batch: rows of the other modality.
        extra_negatives_y: negatives of the rows of `y`.
        both: False takes the loss of the rows of `x` alone, without that of the rows of `y`.

    Returns:
        This rank's share of the mean over all 2M rows, or the M rows of `x`; the mean over ranks is the loss of the
        joined batch. With alpha 0 the loss of a row without a negative is zero.
    """
    check_pairs(x_BD, y_BD)
    check_positive("scale", scale)
    with outside_autocast(x_BD):
        sizes = collectives.rank_sizes(len(x_BD))
        ids_B = global_index(sizes, x_BD.device) if groups_B is None else groups_B
        x, y, weighting = Embeddings(x_BD, ids_B), Embeddings(y_BD, ids_B), NegativeWeighting(beta, alpha, prior)
        if guide is not None:
            gx_BG, gy_BG, limit_B = _guide_rows(guide)
            x, y = x._replace(guide=gx_BG, limit=limit_B), y._replace(guide=gy_BG, limit=limit_B)
        sums = log_sum_exp(x, y, sizes, scale, weighting.exponents, columns=both, positive_N=row_index(x_BD))
        loss_B = weighted_cross_entropy(weighting, sums.rows, sums.positive, x, extra_negatives_x, scale)
        if both:
            loss_B = loss_B + weighted_cross_entropy(
                weighting, sums.columns, sums.positive, y, extra_negatives_y, scale
            )
        return collectives.share(loss_B.sum(), (1 + both) * sum(sizes))


def weighted_cross_entropy(
    weighting: NegativeWeighting,
    sums_NK: Tensor,
    positive_N: Tensor,
    x: Embeddings,
    extra_negatives: ExtraNegatives,
    scale: Tensor | float,
) -> Tensor:
    """Return (N,), the cross-entropy of anchors `x`, their extra negatives added to the batch's sums (N, K)."""
    for negatives in extra_negatives:
        sums_NK = torch.logaddexp(sums_NK, negatives.log_sum_exp(x, scale, weighting.exponents))
    return weighting.cross_entropy(sums_NK, positive_N, scale)


def _debias(
    negatives_N: Tensor, positive_N: Tensor, log_count_N: Tensor, prior: float, scale: Tensor | float
) -> Tensor:
    """Return log of (exp(negatives) - prior * n * exp(positive)) / (1 - prior), clamped at log(n) - scale from below.

    `log_count_N` is log n. A row without negatives stays at `LOG_ZERO`.
    """
    gap_N = math.log(prior) + log_count_N + positive_N - negatives_N
    debiased_N = negatives_N + torch.log(-torch.expm1(torch.where(gap_N < 0, gap_N, -1.0))) - math.log1p(-prior)
    floor_N = torch.where(log_count_N > LOG_ZERO / 2, log_count_N - scale, LOG_ZERO)
    return torch.where((gap_N < 0) & (debiased_N > floor_N), debiased_N, floor_N)


def _guide_rows(guide: Guide) -> tuple[Tensor, Tensor, Tensor]:
    """Return the guide's unit rows (B, G) of both sides, and the cosine (B,) above which a pair is a false negative."""
    gx_BG, gy_BG = normalize_rows(guide.x_BG.detach()), normalize_rows(guide.y_BG.detach())
    return gx_BG, gy_BG, cosines(gx_BG, gy_BG) - guide.margin
