"""The dense form: the whole similarity matrix, differentiated by autograd."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sensorium.losses.engine.kernels import Kernel
from sensorium.losses.engine.logits import Embeddings, PairwiseSums, excluded_pairs, map_rows, positive_logits
from sensorium.losses.unit_vectors import normalize_rows
from sensorium.parallel import collectives


def dense_sums(
    kernel: Kernel,
    x: Embeddings,
    y: Embeddings,
    sizes: Sequence[int],
    scale: Tensor,
    bias: Tensor | None,
    columns: bool,
    positive_N: Tensor | None = None,
) -> PairwiseSums:
    """Return the sums of the rows of `x`, those of `y` with `columns`, and the positive logits."""
    x, y = map_rows(x, y, normalize_rows)
    all_y = _all_gather(y) if len(sizes) > 1 else y
    logits_NM = _logits(x, all_y, scale, bias)
    excluded = excluded_pairs(x, all_y)
    rows_NK = kernel.dense(logits_NM, excluded[0])
    if not columns:
        cols_MK = y.rows.new_zeros(len(y.rows), 0)
    elif len(sizes) == 1:  # one process: the columns of the same matrix
        cols_MK = kernel.dense(logits_NM.T, None if excluded[1] is None else excluded[1].T)
    else:
        all_x = _all_gather(x)
        cols_MK = kernel.dense(_logits(y, all_x, scale, bias), excluded_pairs(y, all_x)[0])
    return PairwiseSums(rows_NK, cols_MK, positive_logits(x, y, positive_N, scale, bias))


def _logits(x: Embeddings, y: Embeddings, scale: Tensor, bias: Tensor | None) -> Tensor:
    logits_NM = scale * (x.rows @ y.rows.T)
    return logits_NM if bias is None else logits_NM + bias


def _all_gather(side: Embeddings) -> Embeddings:
    return Embeddings(*(None if t is None else collectives.all_gather(t)[0] for t in side))
