"""The dense form: the whole matrix of pairs, differentiated by autograd."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sensorium.losses.engine.kernels import Kernel
from sensorium.losses.engine.logits import PairSums, Side, changed, left_out, own_logits
from sensorium.losses.unit_vectors import unit
from sensorium.parallel import collectives


def dense_sums(
    kernel: Kernel,
    x: Side,
    y: Side,
    sizes: Sequence[int],
    scale: Tensor,
    bias: Tensor | None,
    columns: bool,
    own_N: Tensor | None = None,
) -> PairSums:
    """Return the sums of the rows of `x`, those of `y` with `columns`, and the logits of own pairs with `own_N`."""
    x, y = changed(x, y, unit)
    all_y = _gathered(y) if len(sizes) > 1 else y
    logits_NM = _logits(x, all_y, scale, bias)
    out = left_out(x, all_y)
    rows_NK = kernel.whole(logits_NM, out[0])
    if not columns:
        cols_MK = y.rows.new_zeros(len(y.rows), 0)
    elif len(sizes) == 1:  # one process: the columns of the same matrix
        cols_MK = kernel.whole(logits_NM.T, None if out[1] is None else out[1].T)
    else:
        all_x = _gathered(x)
        cols_MK = kernel.whole(_logits(y, all_x, scale, bias), left_out(y, all_x)[0])
    return PairSums(rows_NK, cols_MK, own_logits(x, y, own_N, scale, bias))


def _logits(x: Side, y: Side, scale: Tensor, bias: Tensor | None) -> Tensor:
    logits_NM = scale * (x.rows @ y.rows.T)
    return logits_NM if bias is None else logits_NM + bias


def _gathered(side: Side) -> Side:
    return Side(*(None if t is None else collectives.gather(t)[0] for t in side))
