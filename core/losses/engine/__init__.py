"""The contrastive engine: sums over all pairs of rows, of all ranks, without the whole similarity matrix.

Every contrastive loss is a function of few sums over pairs: of the log-sum-exp of the logits in each row and each
column (InfoNCE, NT-Xent, SupCon, and their hard-negative weights, which are sums of exponentiated logits), or of their
softplus (SigLIP). Positive pairs are O(B): the engine returns their logits, and the loss does the rest. The engine
computes all this in two forms that agree: `dense` holds the similarity matrix and is differentiated by autograd;
`streamed` holds one tile of it at a time, and between ranks passes blocks round a ring. Where one tile would hold all
joined rows of `y` the form is dense, else streamed.

Rows are normalized here. So the streamed form saves unit rows and sums, allocates the gradients that it returns, and
needs nothing else of their size.

Letters: N this rank's rows of one side, M of the other, K exponents, D width, G width of a guide.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sensorium.losses.engine.dense import dense_sums
from sensorium.losses.engine.kernels import LOG_ZERO, Kernel, LogSumExp, Softplus, softplus
from sensorium.losses.engine.logits import Embeddings, PairwiseSums, map_rows
from sensorium.losses.engine.streamed import streamed_sums, tile_edge
from sensorium.losses.precision import at_least_fp32

__all__ = [
    "LOG_ZERO",
    "Embeddings",
    "PairwiseSums",
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
    exponents: tuple[float, ...] = (1.0,),
    columns: bool = False,
    positive_N: Tensor | None = None,
) -> PairwiseSums:
    """Return, for each row and each exponent t, the log of the sum over its pairs of exp(t * scale * cosine).

    Args:
        x: this rank's N rows of one side; the same object as `y` when rows are contrasted with themselves.
        y: this rank's M rows of the other.
        sizes: number of rows of `y` on each rank. One number under several ranks: every rank holds the same rows of
            `y`, such as a queue, and nothing is gathered.
        scale: logit scale; a scalar tensor receives its exact gradient.
        exponents: what logits are multiplied with besides; the sum of exponent 0 is the number of pairs.
        columns: also sum for each row of `y`, over the rows of `x` of every rank; one pass over pairs gives both.
        positive_N: int64, index of each row's positive among this rank's rows of `y`; None for no positive logits.

    Returns:
        Sums over the rows of `y` of every rank, for those of `y` with `columns`, and the positive logits. A row whose
        pairs are all excluded has `LOG_ZERO`, with zero gradient.
    """
    return _sums(LogSumExp(exponents), x, y, sizes, scale, None, columns, positive_N)


def softplus_sums(
    x: Embeddings,
    y: Embeddings,
    sizes: Sequence[int],
    scale: Tensor | float,
    bias: Tensor | float,
    positive_N: Tensor | None = None,
) -> PairwiseSums:
    """Return, for each row of `x`, the sum (N, 1) over its pairs of log(1 + exp(scale * cosine + bias)).

    Args:
        x: this rank's N rows of one side.
        y: this rank's M rows of the other.
        sizes: number of rows of `y` on each rank.
        scale: logit scale; a scalar tensor receives its exact gradient.
        bias: logit bias; likewise.
        positive_N: see `log_sum_exp`.
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
) -> PairwiseSums:
    device, dtype = x.rows.device, at_least_fp32(x.rows).dtype
    x, y = map_rows(x, y, lambda rows_ND: rows_ND.to(dtype))
    scale, bias = _scalar(scale, dtype, device), None if bias is None else _scalar(bias, dtype, device)
    form = dense_sums if sum(sizes) <= tile_edge(device) else streamed_sums
    return form(kernel, x, y, sizes, scale, bias, columns, positive_N)


def _scalar(value: Tensor | float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a number as a scalar on the device, which is filled with it: a copy from the host would block."""
    return value.to(dtype) if isinstance(value, Tensor) else torch.full((), value, dtype=dtype, device=device)
