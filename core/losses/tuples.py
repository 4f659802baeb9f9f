"""Contrast of tuples: the embeddings of K modalities of each record at once, by volume, area or product.

An anchor, the embedding of one modality, is compared with tuples of the others. All logits are functions of few cosines
or products, so that no tensor is larger than some matrices of all pairs, and of large batches these are made in blocks
that are computed again in the backward pass.

Letters: B this rank's records, M joined records of all ranks, N rows of any kind, K modalities, O = K - 1 others than
the anchor, D width, A arrangements of the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sensorium.errors import SensoriumError
from sensorium.losses.arguments import check_choice, check_pairs, check_positive
from sensorium.losses.contrastive import global_index, row_index
from sensorium.losses.engine import LOG_ZERO, softplus
from sensorium.losses.precision import outside_autocast
from sensorium.losses.unit_vectors import cosines, normalize_rows
from sensorium.parallel import collectives

Measure = Literal["gram", "triangle"]
Arrangement = Literal["n", "n^2"]
PAIRS = 1 << 21
"""Most pairs of a block; of several blocks none is kept for the backward pass."""
EPSILON = 1e-8
"""Below the square root of a volume or an area, whose gradient is infinite at zero."""


def gram_volume(z: Sequence[Tensor]) -> Tensor:
    """Return the volume (B,) that the unit rows of each record span: sqrt(det G), G their Gram matrix, 0 to 1.

    GRAM (Cicchetti et al. 2024). It is 0 where rows are parallel, in one direction or in opposite ones.

    Args:
        z: K >= 2 modalities, (B, D) each, any norm; computed in fp32 (fp64 stays).
    """
    _check(z)
    with outside_autocast(z[0]):
        records = _Side.of([normalize_rows(x_BD) for x_BD in z], 0, row_index(z[0]))
        return _volume(records.cosines(), records.gram())


def triangle_area(z: Sequence[Tensor]) -> Tensor:
    """Return the area (B,) of the triangle whose corners are the unit rows of each record, 0 to 1.3.

    TRIANGLE (Cicchetti et al. 2025). It is 0 where two of the corners coincide, wherever the third is.

    Args:
        z: 3 modalities, (B, D) each, any norm; computed in fp32 (fp64 stays).
    """
    _check(z, exactly=3)
    with outside_autocast(z[0]):
        records = _Side.of([normalize_rows(x_BD) for x_BD in z], 0, row_index(z[0]))
        return _area(records.cosines(), records.gram())


def volume_contrast(
    z: Sequence[Tensor],
    scale: Tensor | float,
    measure: Measure = "gram",
    cosine: float = 1.0,
    anchors: Sequence[int] | None = None,
) -> Tensor:
    """Contrast of anchors and tuples by the volume or the area that they span (GRAM, Cicchetti et al. 2024).

    The logit of an anchor and a record's tuple of all other modalities is `scale * (cosine * c - V)`, c the mean cosine
    of the anchor and the others, V what they span. The papers have V alone, which is blind to signs, and the same for
    every anchor, without gradient, once two of the others coincide: both are mended by the cosines. A negative is
    another record's whole tuple. The loss is the mean cross-entropy of anchors over tuples and of tuples over anchors.

    Args:
        z: K >= 2 modalities of this rank's records, (B, D) each, any norm; of "triangle" exactly 3.
        scale: logit scale, > 0; a scalar tensor receives its exact gradient.
        measure: "gram", the volume (see `gram_volume`), or "triangle", the area (see `triangle_area`).
        cosine: weight of the mean cosine, >= 0.
        anchors: indices of the modalities that are the anchor, in turn; None for each.

    Returns:
        This rank's share of the mean over anchors, directions and records; the mean over ranks is the loss of the
        joined batch. The loss of a batch of one record is zero.
    """
    check_choice("measure", measure, get_args(Measure))
    _check(z, exactly=3 if measure == "triangle" else None)
    check_positive("scale", scale)
    chosen = _chosen(anchors, len(z))
    if len(z) == 2:
        chosen = chosen[:1]  # rows and columns of one are columns and rows of the other
    logits = _Logits(scale, cosine, _volume if measure == "gram" else _area)
    with outside_autocast(z[0]):
        rows, joined, ids_B, ids_M = _unit_rows(z)
        summed = rows[0].new_zeros(())
        for anchor in chosen:
            summed = summed + _both_directions(logits, _Side.of(rows, anchor, ids_B), _Side.of(joined, anchor, ids_M))
        return collectives.share(summed, 2 * len(chosen) * len(ids_M))


def symile(
    z: Sequence[Tensor],
    scale: Tensor | float,
    negatives: Arrangement = "n",
    anchors: Sequence[int] | None = None,
) -> Tensor:
    """Symile: contrast by the multilinear inner product of K modalities (Saporta et al. 2024).

    The logit of a tuple is `scale * sqrt(D) ** (K - 2)` times the sum over dimensions of the product of its unit rows;
    the power of D, the width, makes up for products that shrink with it. Negatives of an anchor are tuples whose
    modalities come from several records, none of them the anchor's own tuple. With K = 2 it is `clip`.

    Args:
        z: K >= 2 modalities of this rank's records, (B, D) each, any norm.
        scale: logit scale, > 0; a scalar tensor receives its exact gradient.
        negatives: "n": as many tuples as joined records, each modality taken from the record after that of the one
            before it, in the order of the batch, which a training shuffles. "n^2": as many for every such step, 0 to
            M - 1; of 3 modalities these are all pairs of the other two.
        anchors: indices of the modalities that are the anchor, in turn; None for each.

    Returns:
        This rank's share of the mean over anchors and records; the mean over ranks is the loss of the joined batch.
    """
    check_choice("negatives", negatives, get_args(Arrangement))
    _check(z)
    check_positive("scale", scale)
    chosen = _chosen(anchors, len(z))
    with outside_autocast(z[0]):
        rows, joined, ids_B, ids_M = _unit_rows(z)
        scale = scale * math.sqrt(rows[0].shape[1]) ** (len(z) - 2)
        summed = rows[0].new_zeros(())
        for anchor in chosen:
            own, all_ = _Side.of(rows, anchor, ids_B), _Side.of(joined, anchor, ids_M)
            positive_B = scale * cosines(own.anchor, _product(own.others))
            negatives_B = _over_arrangements(scale, own, all_, negatives == "n^2")
            summed = summed + softplus(negatives_B - positive_B).sum()
        return collectives.share(summed, len(chosen) * len(ids_M))


class _Side(NamedTuple):
    """Records as seen from one of their modalities.

    Args:
        anchor: (N, D), the unit rows of that modality.
        others: O tensors (N, D), those of the others.
        ids: int64 (N,), index of each record in the joined batch.
    """

    anchor: Tensor
    others: list[Tensor]
    ids: Tensor

    @classmethod
    def of(cls, rows: Sequence[Tensor], anchor: int, ids_N: Tensor) -> _Side:
        """Return the unit rows of all modalities, with one of them as the anchor."""
        others = [rows_ND for number, rows_ND in enumerate(rows) if number != anchor]
        return cls(rows[anchor], others, ids_N)

    def cut(self, part: slice) -> _Side:
        """Return a slice of the records."""
        return _Side(self.anchor[part], [y_ND[part] for y_ND in self.others], self.ids[part])

    def cosines(self) -> list[Tensor]:
        """Return the cosines (N,) of the anchor and each of the others."""
        return [cosines(self.anchor, y_ND) for y_ND in self.others]

    def gram(self) -> Tensor:
        """Return the Gram matrices of the others, (N, O, O), with ones on their diagonals."""
        one_N = torch.ones_like(self.anchor[:, 0])
        return torch.stack(
            [torch.stack([one_N if x is y else cosines(x, y) for y in self.others], 1) for x in self.others], 1
        )


@dataclass(frozen=True)
class _Logits:
    """The logits of anchors and tuples: a scale times the weighted mean cosine minus what they span."""

    scale: Tensor | float
    cosine: float
    span: Callable[[Sequence[Tensor], Tensor], Tensor]

    def of_pairs(self, anchors: _Side, tuples: _Side) -> Tensor:
        """Return the logits (N, M) of all pairs; `LOG_ZERO` where both are of one record."""
        logits_NM = self._logits([anchors.anchor @ y_MD.T for y_MD in tuples.others], tuples.gram())
        return logits_NM.masked_fill(anchors.ids[:, None] == tuples.ids, LOG_ZERO)

    def of_records(self, records: _Side) -> Tensor:
        """Return the logits (N,) of each record's own tuple."""
        return self._logits(records.cosines(), records.gram())

    def _logits(self, each: Sequence[Tensor], gram: Tensor) -> Tensor:
        return self.scale * (self.cosine * torch.stack([*each]).mean(0) - self.span(each, gram))


def _both_directions(logits: _Logits, own: _Side, all_: _Side) -> Tensor:
    """Return the summed cross-entropies of this rank's anchors over all tuples, and of its tuples over all anchors."""
    positive_B, count = logits.of_records(own), len(all_.ids)
    over_tuples_B = _by_blocks(lambda part: logits.of_pairs(own.cut(part), all_).logsumexp(1), len(own.ids), count)
    over_anchors_B = _by_blocks(lambda part: logits.of_pairs(all_, own.cut(part)).logsumexp(0), len(own.ids), count)
    return (softplus(over_tuples_B - positive_B) + softplus(over_anchors_B - positive_B)).sum()


def _over_arrangements(scale: Tensor | float, own: _Side, all_: _Side, is_squared: bool) -> Tensor:
    """Return, for each of this rank's anchors, the log-sum-exp of its negatives, tuples of rearranged others."""
    count, others_O = len(all_.ids), torch.arange(len(own.others), device=own.ids.device)
    steps_A = torch.arange(count, device=own.ids.device) if is_squared and len(others_O) > 1 else others_O[:1] + 1
    shifts_AO = steps_A[:, None] * others_O
    is_own_A = (shifts_AO % max(count, 1) == 0).all(1)

    def of_arrangements(part: slice) -> Tensor:
        index_AMO = (all_.ids[None, :, None] + shifts_AO[part, None]) % max(count, 1)
        keys_AMD = _product([y_MD[index_AMO[..., o]] for o, y_MD in enumerate(all_.others)])
        logits_BAM = scale * (own.anchor @ keys_AMD.flatten(0, 1).T).unflatten(1, keys_AMD.shape[:2])
        is_own_BAM = is_own_A[part, None] & (own.ids[:, None] == all_.ids)[:, None]
        return logits_BAM.masked_fill(is_own_BAM, LOG_ZERO).flatten(1).logsumexp(1)[None]

    return _by_blocks(of_arrangements, len(steps_A), count * max(len(own.ids), 1)).logsumexp(0)


def _by_blocks(sums: Callable[[slice], Tensor], rows: int, pairs_of_row: int) -> Tensor:
    """Return `sums` of all rows, (rows, ...), a block at a time; several blocks are computed again in the backward."""
    edge = max(PAIRS // max(pairs_of_row, 1), 1)
    if rows <= edge:
        return sums(slice(0, rows))
    parts = [slice(start, start + edge) for start in range(0, rows, edge)]
    return torch.cat([checkpoint(sums, part, use_reentrant=False, preserve_rng_state=False) for part in parts])


def _volume(each: Sequence[Tensor], gram_MOO: Tensor) -> Tensor:
    """Return the volumes of anchors and tuples, from their cosines (..., M) and the Gram matrices of the tuples.

    det of the whole is det G - l' adj(G) l, l the cosines: finite where others coincide, unlike the inverse of G.
    """
    determinant_M, adjugate_MOO = _determinant_and_adjugate(gram_MOO)
    rows = [sum(adjugate_MOO[:, o, p] * c for p, c in enumerate(each)) for o in range(len(each))]
    projected = sum(c * row for c, row in zip(each, rows, strict=True))
    return (determinant_M - projected).clamp(min=0).add(EPSILON).sqrt()


def _area(each: Sequence[Tensor], gram_MOO: Tensor) -> Tensor:
    """Return the areas of triangles from the cosines (..., M) of their first corner with the others, and theirs.

    Half the root of |u|^2 |v|^2 - (u v)^2, u and v the sides at the anchor.
    """
    a, b = each
    squares, product = 4 * (1 - a) * (1 - b), 1 - a - b + gram_MOO[:, 0, 1]
    return (squares - product.square()).clamp(min=0).add(EPSILON).sqrt() / 2


def _determinant_and_adjugate(matrix_MOO: Tensor) -> tuple[Tensor, Tensor]:
    """Return determinants (M,) and adjugates (M, O, O) by the Faddeev-LeVerrier algorithm, which divides by nothing."""
    size = matrix_MOO.shape[1]
    eye_OO = torch.eye(size, dtype=matrix_MOO.dtype, device=matrix_MOO.device)
    minor_MOO = eye_OO.expand_as(matrix_MOO)
    for k in range(1, size + 1):
        # Not by matmul, whose precision a training may lower.
        product_MOO = (matrix_MOO[..., None] * minor_MOO[:, None]).sum(2)
        coefficient_M = -product_MOO.diagonal(dim1=1, dim2=2).sum(1) / k
        if k < size:
            minor_MOO = product_MOO + coefficient_M[:, None, None] * eye_OO
    sign = (-1) ** size
    return sign * coefficient_M, -sign * minor_MOO


def _product(factors: Sequence[Tensor]) -> Tensor:
    """Return the elementwise product of some tensors of one shape."""
    product, *rest = factors
    for factor in rest:
        product = product * factor
    return product


def _unit_rows(z: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """Return this rank's unit rows and those of all ranks, and the index of both in the joined batch."""
    rows = [normalize_rows(x_BD) for x_BD in z]
    sizes = collectives.rank_sizes(len(rows[0]))
    joined = [collectives.gather(x_BD) for x_BD in rows]
    return rows, joined, global_index(sizes, rows[0].device), torch.arange(sum(sizes), device=rows[0].device)


def _chosen(anchors: Sequence[int] | None, modalities: int) -> Sequence[int]:
    """Return the indices of the modalities that are the anchor; raise where they name none, or none that is there."""
    chosen = range(modalities) if anchors is None else anchors
    if not chosen or not set(chosen) <= set(range(modalities)):
        raise SensoriumError(
            f"The loss was given the anchors {list(chosen)}, and there are {modalities} modalities: name one or more "
            f"by their indices, 0 to {modalities - 1}."
        )
    return chosen


def _check(z: Sequence[Tensor], exactly: int | None = None) -> None:
    """Raise unless there are 2 modalities or more, or exactly as many, with as many rows of one width each."""
    if len(z) < 2 or len(z) != (exactly or len(z)):
        raise SensoriumError(
            f"The loss contrasts {exactly or '2 or more'} modalities of each record, and was given {len(z)}: hand in a "
            "list with a tensor (B, D) of each."
        )
    for x_BD in z[1:]:
        check_pairs(z[0], x_BD)
