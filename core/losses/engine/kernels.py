"""What is summed over the pairs of a tile, and the slope of it.

A kernel says the same thing twice: `whole`, in torch's own differentiable words, for the dense form; `tile` and
`slope`, with as few passes over a tile as will do, for the streamed one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_ZERO = -1e30
"""The log of the sum of no pair: finite, so that nothing turns nan, and far below any logit."""

Masks = tuple[Tensor | None, Tensor | None]
"""The pairs (R, C) that are left out of the sums of rows, and of those of columns: bool, or None for not one."""


class Sums(NamedTuple):
    """The finished sums of rows (R, K) or columns, and the loss's gradient with respect to them."""

    values: Tensor
    grads: Tensor


class Kernel(ABC):
    """A sum over pairs. `width` is K, the number of sums a row has; `start` is the sum of no pair."""

    width: int
    start: float

    def bounded(self, scale: Tensor) -> Kernel:
        """Return the kernel for tiles of cosines times a scale; asked once, by the streamed form alone."""
        return self

    @abstractmethod
    def whole(self, logits_NM: Tensor, out_NM: Tensor | None) -> Tensor:
        """Return the sums (N, K) of all rows, differentiable; `out_NM` says which pairs are left out."""

    @abstractmethod
    def tile(self, logits_RC: Tensor, out: Masks, columns: bool) -> tuple[Tensor, Tensor | None]:
        """Return the sums (R, K) of the rows of one tile, and (C, K) of its columns if asked; may write into it."""

    @abstractmethod
    def join(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the sums of two tiles together."""

    @abstractmethod
    def slope(self, logits_RC: Tensor, out: Masks, rows: Sums, columns: Sums | None) -> Tensor:
        """Return the gradient of the loss with respect to one tile's logits; may write into the tile."""


class LogSumExp(Kernel):
    """The log of the sum of exp(t * logit), for each tilt t.

    Unit rows bound the logits. Where that leaves no exponential to vanish or to overflow, one exponential, relative
    to the bound, serves rows and columns alike; else each is taken relative to its own largest logit.

    Args:
        tilts: what logits are multiplied with.
        bound: the logits of tiles lie between minus this and this.
    """

    start = LOG_ZERO

    def __init__(self, tilts: tuple[float, ...], bound: float = math.inf) -> None:
        self.tilts, self.bound, self.width = tilts, bound, len(tilts)

    def bounded(self, scale):
        """Return the kernel for logits that the scale bounds, since cosines lie between -1 and 1."""
        return LogSumExp(self.tilts, abs(float(scale.detach()))) if self.bound == math.inf else self

    def whole(self, logits_NM, out_NM):
        """Return the sums (N, K), each relative to its own largest logit."""
        sums = []
        for tilt in self.tilts:
            tilted_NM = tilt * logits_NM
            sums.append(_fill(tilted_NM, out_NM, LOG_ZERO).logsumexp(1))
        return torch.stack(sums, dim=1)

    def tile(self, logits_RC, out, columns):
        """Return the sums of one tile, as logs."""
        rows, cols = [], []
        dims = (1, 0) if columns else (1,)
        for k, tilt in enumerate(self.tilts):
            tilted_RC = self._tilted(logits_RC, k)
            if self._shared(tilt, logits_RC.dtype):
                top = tilt * self.bound
                parts = _both(tilted_RC.sub_(top).exp_(), out, columns)
                sums = [_log(part.sum(dim), top) for dim, part in zip(dims, parts, strict=True)]
            else:
                sums = [_fill(tilted_RC, o, LOG_ZERO).logsumexp(dim) for dim, o in zip(dims, out, strict=False)]
            rows.append(sums[0])
            cols += sums[1:]
        return torch.stack(rows, dim=1), torch.stack(cols, dim=1) if columns else None

    def join(self, a, b):
        """Return log(exp(a) + exp(b))."""
        return torch.logaddexp(a, b)

    def slope(self, logits_RC, out, rows, columns):
        """Return the sum over tilts of tilt * softmax * gradient, of rows and of columns."""
        slopes = [self._slope(logits_RC, k, out, rows, columns) for k, tilt in enumerate(self.tilts) if tilt != 0]
        return reduce(Tensor.add_, slopes)  # a count, of tilt 0, has no slope

    def _slope(self, logits_RC, k, out, rows, columns):
        tilt, tilted_RC = self.tilts[k], self._tilted(logits_RC, k)
        shared = self._shared(tilt, logits_RC.dtype)
        slope_RC = (self._shared_slope if shared else self._own_slope)(tilted_RC, k, out, rows, columns)
        return slope_RC if tilt == 1 else slope_RC.mul_(tilt)

    def _shared_slope(self, tilted_RC, k, out, rows, columns):
        top = self.tilts[k] * self.bound
        weights = [_weight(sums.values[:, k], sums.grads[:, k], top) for sums in (rows, columns) if sums]
        parts = _both(tilted_RC.sub_(top).exp_(), out, columns is not None)
        if columns is None:
            return parts[0].mul_(weights[0][:, None])
        if parts[0] is parts[1]:
            return parts[0].mul_(weights[0][:, None] + weights[1])
        return parts[0].mul_(weights[0][:, None]).add_(parts[1].mul_(weights[1]))

    def _own_slope(self, tilted_RC, k, out, rows, columns):
        slope_RC = _fill((tilted_RC - rows.values[:, k, None]).exp_(), out[0], 0.0).mul_(rows.grads[:, k, None])
        if columns is None:
            return slope_RC
        return slope_RC.add_(_fill((tilted_RC - columns.values[:, k]).exp_(), out[1], 0.0).mul_(columns.grads[:, k]))

    def _shared(self, tilt: float, dtype: torch.dtype) -> bool:
        """Whether exp of twice the bound is well inside the range of numbers."""
        return 2 * abs(tilt) * self.bound < 0.9 * math.log(torch.finfo(dtype).max)

    def _tilted(self, logits_RC: Tensor, k: int) -> Tensor:
        """Return the tilted logits; the last tilt may have the logits' own memory."""
        tilt, last = self.tilts[k], k + 1 == self.width
        if last:
            return logits_RC if tilt == 1 else logits_RC.mul_(tilt)
        return logits_RC * tilt


class Softplus(Kernel):
    """The sum of log(1 + exp(logit)); rows only."""

    width, start = 1, 0.0

    def whole(self, logits_NM, out_NM):
        """Return the sums (N, 1)."""
        return _fill(softplus(logits_NM), out_NM, 0.0).sum(1, keepdim=True)

    def tile(self, logits_RC, out, columns):
        """Return the sums of one tile."""
        return self.whole(logits_RC, out[0]), None

    def join(self, a, b):
        """Return a + b."""
        return a + b

    def slope(self, logits_RC, out, rows, columns):
        """Return sigmoid * gradient."""
        return _fill(logits_RC.sigmoid_(), out[0], 0.0).mul_(rows.grads)


def softplus(x: Tensor) -> Tensor:
    """Return log(1 + exp(x)), exact everywhere (that of torch is the identity from 20 upwards)."""
    return -F.logsigmoid(-x)


def _fill(x: Tensor, out: Tensor | None, value: float) -> Tensor:
    return x if out is None else x.masked_fill(out, value)


def _both(e_RC: Tensor, out: Masks, columns: bool) -> list[Tensor]:
    """Return the exponentials that rows sum, and that columns do: one tensor unless different ones are left out."""
    if not columns or out[0] is out[1]:
        return [e_RC if out[0] is None else e_RC.masked_fill_(out[0], 0.0)] * (1 + columns)
    return [_fill(e_RC, o, 0.0) for o in out]


def _log(summed: Tensor, top: float) -> Tensor:
    return torch.where(summed > 0, summed.log() + top, LOG_ZERO)


def _weight(values: Tensor, grads: Tensor, top: float) -> Tensor:
    """Return what an exponential relative to `top` is multiplied with to be its share of the sum's gradient."""
    return grads * torch.where(values > LOG_ZERO / 2, top - values, -math.inf).exp()
