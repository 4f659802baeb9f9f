"""Self-distillation over prototypes: targets of teachers (centering, Sinkhorn-Knopp), cross-entropy of students.

Scores are a head's outputs for each of K prototypes, before any temperature. Targets are distributions over
prototypes, rows that sum to one; they carry no gradient.

Letters: B this rank's records, N this rank's rows of any kind, K prototypes, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sensorium.losses.arguments import check_positive
from sensorium.losses.precision import at_least_fp32, outside_autocast
from sensorium.losses.unit_vectors import normalize_rows
from sensorium.parallel import collectives


def swapped_cross_entropy(
    scores: Sequence[Tensor],
    targets: Sequence[Tensor],
    temperature: Tensor | float,
    weights: Sequence[Tensor | float] | None = None,
) -> Tensor:
    """Cross-entropy of every view's target under every *other* view's scores, mean over those pairs of views.

    DINO's loss with a teacher's targets (Caron et al. 2021, eq. 3), SwAV's with Sinkhorn codes (Caron et al. 2020,
    eq. 1 and 2).

    Args:
        scores: student scores (B, K) of each view; of a view with C copies of each record (C x B, K), copy after copy,
            whose cross-entropies are averaged.
        targets: (B, K) of the first views, fewer than `scores` or as many.
        temperature: student temperature, > 0, which divides scores.
        weights: of the terms of each view of `scores`, >= 0; the mean is still over the number of pairs. None is 1.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch.
    """
    check_positive("temperature", temperature)
    with outside_autocast(scores[0]):
        logs = [_mean_of_copies(_log_softmax(s_BK, temperature), len(targets[0])) for s_BK in scores]
        pairs = [(t_BK, j) for i, t_BK in enumerate(targets) for j in range(len(logs)) if i != j]
        terms = [-(t_BK.to(logs[j].dtype) * logs[j]).sum() for t_BK, j in pairs]
        if weights is not None:
            terms = [weights[j] * term for term, (_, j) in zip(terms, pairs, strict=True)]
        return collectives.share(sum(terms), collectives.count_rows(targets[0]) * len(pairs))


def masked_cross_entropy(scores_NK: Tensor, targets_NK: Tensor, mask_BT: Tensor, temperature: Tensor | float) -> Tensor:
    """Cross-entropy of masked tokens' targets under a student's scores (iBOT, Zhou et al. 2022, eq. 2).

    Args:
        scores_NK: student scores of the N masked tokens, in the order of `mask_BT`.
        targets_NK: their targets.
        mask_BT: bool, True at the N masked tokens.
        temperature: student temperature, > 0, which divides scores.

    Returns:
        This rank's share of the mean over examples of each one's mean over its masked tokens; an example without any
        counts as zero, as in the authors' code.
    """
    check_positive("temperature", temperature)
    with outside_autocast(scores_NK):
        log_NK = _log_softmax(scores_NK, temperature)
        masked_B = mask_BT.sum(1)
        masked_N = masked_B.repeat_interleave(masked_B, output_size=len(log_NK))
        loss_N = -(targets_NK.to(log_NK.dtype) * log_NK).sum(-1) / masked_N
        return collectives.share(loss_N.sum(), collectives.count_rows(mask_BT))


@torch.no_grad()
def centered_softmax(scores_NK: Tensor, center_K: Tensor, temperature: Tensor | float) -> Tensor:
    """Return DINO's targets: the softmax of scores minus a center (Caron et al. 2021, section 3.1).

    Args:
        scores_NK: this rank's scores; computed in fp32 (fp64 stays).
        center_K: subtracted from every row, float.
        temperature: softmax temperature, > 0; the paper's teacher has 0.04 to 0.07.
    """
    check_positive("temperature", temperature)
    with outside_autocast(scores_NK):
        return _log_softmax(scores_NK - center_K, temperature).exp()


@torch.no_grad()
def update_center(center_K: Tensor, scores_NK: Tensor, momentum: float = 0.9) -> Tensor:
    """Return the center after its EMA update by the mean scores of all ranks' rows (Caron et al. 2021, eq. 4).

    The center is unchanged when no rank has a row.

    Args:
        center_K: float; it is not modified.
        scores_NK: this rank's scores of the teacher; ranks may have none.
        momentum: of the EMA, in [0, 1].
    """
    with outside_autocast(scores_NK):
        sum_K = collectives.all_reduce_sum(scores_NK.to(center_K.dtype).sum(0))
        count = collectives.count_rows(scores_NK)
        return center_K.lerp(sum_K / count, 1 - momentum) if count else center_K.clone()


@torch.no_grad()
def sinkhorn_knopp(scores_NK: Tensor, temperature: Tensor | float, iterations: int = 3) -> Tensor:
    """Return targets that assign the joined rows of all ranks evenly to prototypes (Cuturi 2013; Caron et al. 2020).

    Computed in the log domain, so that it is finite at every temperature.

    Args:
        scores_NK: this rank's scores; ranks may have different numbers of rows.
        temperature: weight of the entropy, > 0: SwAV's epsilon and DINOv2's teacher temperature.
        iterations: how often prototypes and rows are normalized in turn, rows last.
    """
    check_positive("temperature", temperature)
    with outside_autocast(scores_NK):
        log_NK = at_least_fp32(scores_NK) / temperature
        for _ in range(iterations):
            ranks_WK, _ = collectives.all_gather(log_NK.logsumexp(0, keepdim=True))
            log_NK = (log_NK - ranks_WK.logsumexp(0)).log_softmax(-1)
        return log_NK.exp()


@torch.no_grad()
def positionwise_sinkhorn(
    scores_BTK: Tensor, mask_BT: Tensor, bins: int, temperature: Tensor | float, iterations: int = 3
) -> Tensor:
    """Return targets that assign the tokens at each position evenly to prototypes (CAPI, Darcet et al. 2025).

    As `sinkhorn_knopp`, but within each bin of relative positions apart, over the joined batch of all ranks: clusters
    then cannot stand for positions. Records of `bins` tokens have a bin for each position. Equal use needs rows: a bin
    with fewer tokens than there are prototypes has nearly uniform targets.

    Args:
        scores_BTK: this rank's scores; ranks may have different numbers of rows and tokens.
        mask_BT: bool, True at valid tokens; the others have targets of zero.
        bins: number of bins, >= 1; token i of n valid ones is in bin floor(i * bins / n). One is `sinkhorn_knopp`.
        temperature: weight of the entropy, > 0.
        iterations: how often prototypes and rows are normalized in turn, rows last.
    """
    check_positive("temperature", temperature)
    with outside_autocast(scores_BTK):
        log_NK = at_least_fp32(scores_BTK).flatten(0, 1) / temperature
        bin_N = torch.where(mask_BT, _relative_bins(mask_BT, bins), bins).flatten()  # padding has a bin of its own
        for _ in range(iterations):
            ranks_WPK, _ = collectives.all_gather(_logsumexp_by_bin(log_NK, bin_N, bins + 1)[None])
            log_NK = (log_NK - ranks_WPK.logsumexp(0)[bin_N]).log_softmax(-1)
        return log_NK.exp().view(scores_BTK.shape).masked_fill(~mask_BT[..., None], 0.0)


def koleo(x_BD: Tensor) -> Tensor:
    """KoLeo: minus the mean log distance of each unit row to its nearest neighbor (Sablayrolles et al. 2019).

    The Kozachenko-Leonenko entropy estimator, over the joined rows of all ranks. Rows that coincide count at a distance
    of 1e-8 and receive no gradient. A single row has no neighbor; its loss is zero.

    Args:
        x_BD: this rank's features, any norm; they are normalized here.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch.
    """
    with outside_autocast(x_BD):
        x_BD = normalize_rows(x_BD)
        x_MD, first = collectives.all_gather(x_BD)
        m = len(x_MD)
        if m < 2:
            return 0.0 * x_MD.sum()
        self_B = first + torch.arange(len(x_BD), device=x_BD.device)
        similarity_BM = (x_BD.detach() @ x_MD.detach().T).scatter(1, self_B[:, None], float("-inf"))
        squares_B = (x_BD - x_MD[similarity_BM.argmax(1)]).square().sum(1)
        return collectives.share(-0.5 * squares_B.clamp(min=1e-16).log().sum(), m)


@torch.no_grad()
def entropy(targets_NK: Tensor) -> Tensor:
    """Return the mean entropy of distributions, in nats; zero without rows.

    Args:
        targets_NK: float, >= 0, rows that sum to one.
    """
    return torch.special.entr(targets_NK).sum() / max(len(targets_NK), 1)


def _mean_of_copies(x_NK: Tensor, count: int) -> Tensor:
    """Return the means (B, K) over the copies of `count` records; of one copy, the very tensor."""
    return x_NK if len(x_NK) == count else x_NK.unflatten(0, (-1, count)).mean(0)


def _log_softmax(scores_NK: Tensor, temperature: Tensor | float) -> Tensor:
    return (at_least_fp32(scores_NK) / temperature).log_softmax(-1)


def _relative_bins(mask_BT: Tensor, bins: int) -> Tensor:
    """Return the bin of each valid token's position among those of its record, int64 (B, T)."""
    count_B1 = mask_BT.sum(1, keepdim=True).clamp(min=1)
    return (mask_BT.cumsum(1) - 1).clamp(min=0) * bins // count_B1


def _logsumexp_by_bin(x_NK: Tensor, bin_N: Tensor, bins: int) -> Tensor:
    """Return the logsumexp over the rows of each bin, (P, K); -inf in a bin without rows."""
    index_NK = bin_N[:, None].expand_as(x_NK)
    peak_PK = x_NK.new_full((bins, x_NK.shape[1]), -torch.inf).scatter_reduce_(0, index_NK, x_NK, "amax")
    summed_PK = torch.zeros_like(peak_PK).index_add_(0, bin_N, (x_NK - peak_PK[bin_N]).exp())
    return peak_PK + summed_PK.log()
