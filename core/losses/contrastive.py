"""Contrastive losses with in-batch negatives: CLIP, NT-Xent, InfoNCE, SupCon, UniCL.

Letters: B this rank's pairs, M joined pairs of all ranks, N rows of any kind, D width. Logits are cosines times a
scale, one over the temperature. Everything is computed in fp32, or in fp64 when that comes in, whatever the autocast.

Each function returns this rank's share: the mean over ranks is the loss of the joined batch, uneven ranks and ranks
without a row included. Small batches hold the similarity matrix, large ones a tile of it at a time, and pass blocks of
rows between ranks (`sensorium.losses.engine`); both give the same loss and gradient.

The cross-entropy of a row is softplus(log-sum-exp of its negatives - positive logit). The positive logit thus stays
apart from the negatives, and a loss that is nearly zero keeps its digits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.losses.arguments import check_pairs, check_positive
from sensorium.losses.engine import Embeddings, log_sum_exp, softplus
from sensorium.losses.precision import outside_autocast
from sensorium.losses.unit_vectors import cosines, normalize_rows
from sensorium.parallel import collectives


def global_index(sizes: list[int], device: torch.device) -> Tensor:
    """Return int64 (B,), the index of this rank's rows among the joined rows of all ranks, `sizes` of each."""
    first = sum(sizes[: collectives.rank()])
    return torch.arange(first, first + sizes[collectives.rank()], device=device)


def row_index(rows_ND: Tensor) -> Tensor:
    """Return int64 (N,), the index of each row: the positive of two sides in the same order."""
    return torch.arange(len(rows_ND), device=rows_ND.device)


def clip(x_BD: Tensor, y_BD: Tensor, scale: Tensor | float) -> Tensor:
    """CLIP: symmetric InfoNCE between paired rows (Radford et al. 2021, figure 3).

    Args:
        x_BD: this rank's embeddings of one modality, any norm; they are normalized here.
        y_BD: the paired embeddings of the other modality.
        scale: logit scale, > 0, exp of the learned log-scale; a scalar tensor receives its exact gradient.

    Returns:
        This rank's share of the mean over all 2M rows: the mean over ranks is the loss of the joined batch. Without
        any pair on any rank it is zero, with zero gradient.
    """
    check_pairs(x_BD, y_BD)
    check_positive("scale", scale)
    with outside_autocast(x_BD):
        sizes = collectives.rank_sizes(len(x_BD))
        ids_B = global_index(sizes, x_BD.device)
        x, y = Embeddings(x_BD, ids_B), Embeddings(y_BD, ids_B)
        sums = log_sum_exp(x, y, sizes, scale, columns=True, positive_N=row_index(x_BD))
        summed = sum(softplus(sums_B1[:, 0] - sums.positive).sum() for sums_B1 in (sums.rows, sums.columns))
        return collectives.share(summed, 2 * sum(sizes))


def nt_xent(z1_BD: Tensor, z2_BD: Tensor, temperature: Tensor | float) -> Tensor:
    """NT-Xent between two views of each record (SimCLR, Chen et al. 2020, eq. 1): 2M rows, self excluded.

    Args:
        z1_BD: this rank's projections of the first view, any norm; they are normalized here.
        z2_BD: projections of the same records' second view.
        temperature: softmax temperature, > 0, which divides cosines.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch.
    """
    check_pairs(z1_BD, z2_BD)
    check_positive("temperature", temperature)
    with outside_autocast(z1_BD):
        z_ND = torch.cat([z1_BD, z2_BD])
        sizes = collectives.rank_sizes(len(z1_BD))
        records_N = global_index(sizes, z1_BD.device).repeat(2)  # a record's two rows are no negatives of each other
        z, positive_N = Embeddings(z_ND, records_N), row_index(z_ND).roll(len(z1_BD))
        sums = log_sum_exp(z, z, [2 * size for size in sizes], 1 / temperature, positive_N=positive_N)
        return collectives.share(softplus(sums.rows[:, 0] - sums.positive).sum(), 2 * sum(sizes))


def info_nce(
    anchors_BD: Tensor, keys_ND: Tensor, temperature: Tensor | float, positive_B: Tensor | None = None
) -> Tensor:
    """InfoNCE from anchors to the keys of every rank (van den Oord et al. 2018, eq. 4).

    Keys that are no anchor's positive, such as corrupted captions, are negatives of every anchor (NegCLIP,
    Yuksekgonul et al. 2023).

    Args:
        anchors_BD: this rank's anchors, any norm; they are normalized here.
        keys_ND: this rank's keys, any norm; the keys of every rank but its positive are an anchor's negatives.
        temperature: softmax temperature, > 0, which divides cosines.
        positive_B: int64, index of each anchor's positive among this rank's keys; None pairs them in order.

    Returns:
        This rank's share of the mean over all anchors; the mean over ranks is the loss of the joined batch.
    """
    if positive_B is None:
        check_pairs(anchors_BD, keys_ND[: len(anchors_BD)])
    check_positive("temperature", temperature)
    with outside_autocast(anchors_BD):
        positive_B = row_index(anchors_BD) if positive_B is None else positive_B
        sizes, anchors = (collectives.rank_sizes(len(t)) for t in (keys_ND, anchors_BD))
        keys_N = global_index(sizes, keys_ND.device)
        x, y = Embeddings(anchors_BD, keys_N[positive_B]), Embeddings(keys_ND, keys_N)
        sums = log_sum_exp(x, y, sizes, 1 / temperature, positive_N=positive_B)
        return collectives.share(softplus(sums.rows[:, 0] - sums.positive).sum(), sum(anchors))


def supervised_contrastive(z_ND: Tensor, labels_N: Tensor, temperature: Tensor | float) -> Tensor:
    """SupCon: contrast in which all rows of one label are positives of each other (Khosla et al. 2020, eq. 2).

    Several views of a record are several rows of one label; with a unique label for each record, and two views, it is
    `nt_xent`. A row without a positive is excluded from the mean, and stays a negative of the others.

    Args:
        z_ND: this rank's projections, any norm; they are normalized here.
        labels_N: int64, the label of each; labels mean the same on every rank.
        temperature: softmax temperature, > 0, which divides cosines.

    Returns:
        This rank's share of the mean over the rows of every rank that have a positive; the mean over ranks is the
        loss of the joined batch.
    """
    check_positive("temperature", temperature)
    with outside_autocast(z_ND):
        sizes = collectives.rank_sizes(len(z_ND))
        z = Embeddings(z_ND, ids=global_index(sizes, z_ND.device))
        sums_N1, z_ND = log_sum_exp(z, z, sizes, 1 / temperature).rows, normalize_rows(z_ND)
        totals_ND, members_N = _group_sums(z_ND, labels_N)
        positives_N = members_N - 1
        attraction_N = cosines(z_ND, totals_ND - z_ND) / positives_N.clamp(min=1)
        loss_N = torch.where(positives_N > 0, sums_N1[:, 0] - attraction_N / temperature, 0.0)
        return collectives.share(loss_N.sum(), collectives.all_reduce_sum((positives_N > 0).sum()))


def unicl(x_BD: Tensor, y_BD: Tensor, scale: Tensor | float, groups_B: Tensor, both: bool = True) -> Tensor:
    """UniCL: CLIP's loss in which all records of a group are positives (Yang et al. 2022, eq. 2 and 3).

    With a group for each record it is `clip`.

    Args:
        x_BD: this rank's embeddings of one modality, any norm; they are normalized here.
        y_BD: the paired embeddings of the other modality.
        scale: logit scale, > 0, exp of the learned log-scale; a scalar tensor receives its exact gradient.
        groups_B: int64 group ids, the same on every rank.
        both: False takes the loss of the rows of `x` alone, without that of the rows of `y`.

    Returns:
        This rank's share of the mean over all 2M rows, or the M rows of `x`; the mean over ranks is the loss of the
        joined batch.
    """
    check_pairs(x_BD, y_BD)
    check_positive("scale", scale)
    with outside_autocast(x_BD):
        sizes = collectives.rank_sizes(len(x_BD))
        # No id is on both sides: every pair is in the denominator.
        x, y = Embeddings(x_BD, torch.zeros_like(groups_B)), Embeddings(y_BD, torch.full_like(groups_B, -1))
        sums = log_sum_exp(x, y, sizes, scale, columns=both)
        x_BD, y_BD = normalize_rows(x_BD), normalize_rows(y_BD)
        summed = x_BD.new_zeros(())
        directions = [(x_BD, y_BD, sums.rows), (y_BD, x_BD, sums.columns)]
        for anchors_BD, keys_BD, sums_B1 in directions[: 1 + both]:
            totals_BD, members_B = _group_sums(keys_BD, groups_B)
            summed = summed + (sums_B1[:, 0] - scale * cosines(anchors_BD, totals_BD) / members_B).sum()
        return collectives.share(summed, (1 + both) * sum(sizes))


def _group_sums(rows_ND: Tensor, groups_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return, for each of this rank's rows, the sum (N, D) of its group's rows on every rank, and their number (N,)."""
    joined_MD, first = collectives.all_gather(rows_ND)
    group_M = _group_numbers(collectives.all_gather(groups_N)[0])
    group_N = group_M[first : first + len(rows_ND)]
    totals_MD = torch.zeros_like(joined_MD).index_add(0, group_M, joined_MD)
    members_M = torch.zeros_like(group_M).index_add(0, group_M, torch.ones_like(group_M))
    return totals_MD.index_select(0, group_N), members_M.index_select(0, group_N)


def _group_numbers(groups_M: Tensor) -> Tensor:
    """Return the number of each row's group, int64 (M,) from 0, in the order of the groups' ids."""
    sorted_M, order_M = groups_M.sort()
    differs_M = torch.cat([sorted_M.new_zeros(min(len(sorted_M), 1), dtype=torch.bool), sorted_M[1:] != sorted_M[:-1]])
    return torch.empty_like(order_M).scatter(0, order_M, differs_M.cumsum(0))
