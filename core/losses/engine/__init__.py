"""The contrastive engine: sums over every pair of rows, of all ranks, without the matrix of pairs.

Every contrastive loss is a function of few sums over pairs: of the log-sum-exp of the logits in each row and each
column (InfoNCE, NT-Xent, supervised contrast, and their hard negatives, whose weights are sums of tilted logits), or
of their softplus (SigLIP). Positives are O(B) and stay with the loss. The engine computes the sums, in two forms
that agree: `dense` holds the matrix and is autograd's; `streamed` holds one tile of it at a time, saves the rows and
the sums alone, and between ranks passes blocks round a ring. Where one tile would hold all joined rows of `y` the form
is dense, else streamed.

Letters: N this rank's rows of one side, M of the other, K tilts, D width, G width of a guide.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sensorium.losses.engine.dense import dense_sums
from sensorium.losses.engine.kernels import NONE, Kernel, LogSumExp, Softplus, softplus
from sensorium.losses.engine.sides import Side
from sensorium.losses.engine.streamed import streamed_sums, tile_edge

__all__ = ["NONE", "Side", "dense_sums", "log_sums", "softplus", "softplus_sums", "streamed_sums"]


def log_sums(
    x: Side,
    y: Side,
    sizes: Sequence[int],
    scale: Tensor | float,
    tilts: tuple[float, ...] = (1.0,),
    columns: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return, for each row and each tilt t, the log of the sum over its pairs of exp(t * scale * cosine).

    Args:
        x: this rank's N rows of one side; the same object as `y` when rows are contrasted with themselves.
        y: this rank's M rows of the other.
        sizes: how many rows of `y` each rank has. One number under several ranks says that every rank holds the same
            rows of `y`, as it does a queue: they are met where they are, and no rank hears of another.
        scale: what cosines are multiplied with; a scalar tensor receives its exact gradient.
        tilts: what logits are multiplied with besides; the sum of tilt 0 is the number of pairs.
        columns: also sum for each row of `y`, over the rows of `x` of every rank; one pass over pairs gives both.

    Returns:
        Sums (N, K) over the rows of `y` of every rank, and (M, K) for those of `y`, or (M, 0) without `columns`.
        A row whose pairs are all left out has `NONE`, with zero gradient.
    """
    scale = torch.as_tensor(scale, dtype=x.rows.dtype, device=x.rows.device)
    return _sums(LogSumExp(tilts), x, y, sizes, scale, None, columns)


def softplus_sums(x: Side, y: Side, sizes: Sequence[int], scale: Tensor | float, bias: Tensor | float) -> Tensor:
    """Return (N,), for each row of `x`, the sum over its pairs of log(1 + exp(scale * cosine + bias)).

    Args:
        x: this rank's N rows of one side.
        y: this rank's M rows of the other.
        sizes: how many rows of `y` each rank has.
        scale: what cosines are multiplied with; a scalar tensor receives its exact gradient.
        bias: what is added to every logit; likewise.
    """
    scale, bias = (torch.as_tensor(t, dtype=x.rows.dtype, device=x.rows.device) for t in (scale, bias))
    return _sums(Softplus(), x, y, sizes, scale, bias, columns=False)[0].squeeze(1)


def _sums(
    kernel: Kernel, x: Side, y: Side, sizes: Sequence[int], scale: Tensor, bias: Tensor | None, columns: bool
) -> tuple[Tensor, Tensor]:
    form = dense_sums if sum(sizes) <= tile_edge(x.rows.device) else streamed_sums
    return form(kernel, x, y, sizes, scale, bias, columns)
