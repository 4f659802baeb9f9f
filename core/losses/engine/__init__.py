"""The contrastive engine: sums over every pair of rows, of all ranks, without the matrix of pairs.

Every contrastive loss is a function of few sums over pairs: of the log-sum-exp of the logits in each row and each
column (InfoNCE, NT-Xent, supervised contrast, and their hard negatives, whose weights are sums of tilted logits), or
of their softplus (SigLIP). Own pairs are O(B): the engine gives their logits, and what is made of them stays with the
loss. The engine computes all this in two forms that agree: `dense` holds the matrix and is autograd's; `streamed`
holds one tile of it at a time, and between ranks passes blocks round a ring. Where one tile would hold all joined rows
of `y` the form is dense, else streamed.

Rows come as they are, and are normalized here. So the streamed form saves unit rows and sums, makes the gradients that
it returns, and needs nothing else of their size.

Letters: N this rank's rows of one side, M of the other, K tilts, D width, G width of a guide.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sensorium.losses.engine.dense import dense_sums
from sensorium.losses.engine.kernels import LOG_ZERO, Kernel, LogSumExp, Softplus, softplus
from sensorium.losses.engine.logits import Embeddings, PairSums, map_rows
from sensorium.losses.engine.streamed import streamed_sums, tile_edge
from sensorium.losses.precision import at_least_fp32

__all__ = [
    "LOG_ZERO",
    "Embeddings",
    "PairSums",
    "dense_sums",
    "log_sum_exp",
    "softplus",
    "softplus_sums",
    "streamed_sums",
]


def log_sum_exp(
    x: Embeddings,
    y: Embeddings,
    sizes: Sequence[int],
    scale: Tensor | float,
    tilts: tuple[float, ...] = (1.0,),
    columns: bool = False,
    positive_N: Tensor | None = None,
) -> PairSums:
    """Return, for each row and each tilt t, the log of the sum over its pairs of exp(t * scale * cosine).

    Args:
        x: this rank's N rows of one side; the same object as `y` when rows are contrasted with themselves.
        y: this rank's M rows of the other.
        sizes: how many rows of `y` each rank has. One number under several ranks says that every rank holds the same
            rows of `y`, as it does a queue: they are met where they are, and no rank hears of another.
        scale: what cosines are multiplied with; a scalar tensor receives its exact gradient.
        tilts: what logits are multiplied with besides; the sum of tilt 0 is the number of pairs.
        columns: also sum for each row of `y`, over the rows of `x` of every rank; one pass over pairs gives both.
        own_N: int64, which of this rank's rows of `y` each row of `x` belongs to; None when no logit is asked for.

    Returns:
        Sums over the rows of `y` of every rank, for those of `y` with `columns`, and the logits of own pairs. A row
        whose pairs are all left out has `LOG_ZERO`, with zero gradient.
    """
    return _sums(LogSumExp(tilts), x, y, sizes, scale, None, columns, positive_N)


def softplus_sums(
    x: Embeddings,
    y: Embeddings,
    sizes: Sequence[int],
    scale: Tensor | float,
    bias: Tensor | float,
    positive_N: Tensor | None = None,
) -> PairSums:
    """Return, for each row of `x`, the sum (N, 1) over its pairs of log(1 + exp(scale * cosine + bias)).

    Args:
        x: this rank's N rows of one side.
        y: this rank's M rows of the other.
        sizes: how many rows of `y` each rank has.
        scale: what cosines are multiplied with; a scalar tensor receives its exact gradient.
        bias: what is added to every logit; likewise.
        own_N: see `log_sum_exp`.
    """
    return _sums(Softplus(), x, y, sizes, scale, bias, False, positive_N)


def _sums(
    kernel: Kernel,
    x: Embeddings,
    y: Embeddings,
    sizes: Sequence[int],
    scale: Tensor | float,
    bias: Tensor | float | None,
    columns: bool,
    positive_N: Tensor | None,
) -> PairSums:
    device, dtype = x.rows.device, at_least_fp32(x.rows).dtype
    x, y = map_rows(x, y, lambda rows_ND: rows_ND.to(dtype))
    scale = torch.as_tensor(scale, dtype=dtype, device=device)
    bias = None if bias is None else torch.as_tensor(bias, dtype=dtype, device=device)
    form = dense_sums if sum(sizes) <= tile_edge(device) else streamed_sums
    return form(kernel, x, y, sizes, scale, bias, columns, positive_N)
