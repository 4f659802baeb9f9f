"""The sums over the pairs of a tile, and their gradient.

A kernel defines one sum twice: `dense`, differentiable by autograd, for the dense form; `tile` and `logit_grad`, with
as few passes over a tile as possible, for the streamed form.
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
"""The log of an empty sum: finite, so that nothing becomes nan, and far below any logit."""

Masks = tuple[Tensor | None, Tensor | None]
"""The pairs (R, C) that are excluded from the sums of rows, and from those of columns: bool, or None for no pair."""


class Sums(NamedTuple):
    """The finished sums of rows (R, K) or columns, and the loss's gradient with respect to them."""

    values: Tensor
    grads: Tensor


class Kernel(ABC):
    """A sum over pairs. `width` is K, the number of sums a row has; `start` is the empty sum."""

    width: int
    start: float

    def bounded(self, scale: Tensor) -> Kernel:
        """Return the kernel for tiles of cosines times a scale; called once, by the streamed form alone."""
        return self

    @abstractmethod
    def dense(self, logits_NM: Tensor, excluded_NM: Tensor | None) -> Tensor:
        """Return the sums (N, K) of all rows, differentiable, without the pairs of `excluded_NM`."""

    @abstractmethod
    def tile(self, logits_RC: Tensor, excluded: Masks, columns: bool) -> tuple[Tensor, Tensor | None]:
        """Return the sums (R, K) of the rows of one tile, and (C, K) of its columns if asked; may write into it."""

    @abstractmethod
    def combine(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the sums of two tiles together."""

    @abstractmethod
    def logit_grad(self, logits_RC: Tensor, excluded: Masks, rows: Sums, columns: Sums | None) -> Tensor:
        """Return the gradient of the loss with respect to one tile's logits; may write into the tile."""


class LogSumExp(Kernel):
    """The log of the sum of exp(t * logit), for each exponent t.

    Unit rows bound the logits. Where no exponential can then underflow or overflow, one exponential, relative to the
    bound, is shared by rows and columns; else each is taken relative to its largest logit.

    Args:
        exponents: what logits are multiplied with.
        bound: the logits of tiles lie between minus this and this.
    """

    start = LOG_ZERO

    def __init__(self, exponents: tuple[float, ...], bound: float = math.inf) -> None:
        self.exponents, self.bound, self.width = exponents, bound, len(exponents)

    def bounded(self, scale):
        """Return the kernel for logits that the scale bounds, since cosines lie between -1 and 1."""
        return LogSumExp(self.exponents, abs(float(scale.detach()))) if self.bound == math.inf else self

    def dense(self, logits_NM, excluded_NM):
        """Return the sums (N, K), each relative to its largest logit."""
        sums = []
        for exponent in self.exponents:
            scaled_NM = exponent * logits_NM
            sums.append(_fill(scaled_NM, excluded_NM, LOG_ZERO).logsumexp(1))
        return torch.stack(sums, dim=1)

    def tile(self, logits_RC, excluded, columns):
        """Return the sums of one tile, as logs."""
        rows, cols = [], []
        dims = (1, 0) if columns else (1,)
        for k, exponent in enumerate(self.exponents):
            scaled_RC = self._scaled(logits_RC, k)
            if self._shared(exponent, logits_RC.dtype):
                top = exponent * self.bound
                parts = _both(scaled_RC.sub_(top).exp_(), excluded, columns)
                sums = [_log(part.sum(dim), top) for dim, part in zip(dims, parts, strict=True)]
            else:
                sums = [
                    _fill(scaled_RC, mask, LOG_ZERO).logsumexp(dim) for dim, mask in zip(dims, excluded, strict=False)
                ]
            rows.append(sums[0])
            cols += sums[1:]
        return torch.stack(rows, dim=1), torch.stack(cols, dim=1) if columns else None

    def combine(self, a, b):
        """Return log(exp(a) + exp(b))."""
        return torch.logaddexp(a, b)

    def logit_grad(self, logits_RC, excluded, rows, columns):
        """Return the sum over exponents of exponent * softmax * gradient, of rows and of columns."""
        grads = [
            self._grad(logits_RC, k, excluded, rows, columns)
            for k, exponent in enumerate(self.exponents)
            if exponent != 0
        ]
        return reduce(Tensor.add_, grads)  # the sum of exponent 0 is a count, without gradient

    def _grad(self, logits_RC, k, excluded, rows, columns):
        exponent, scaled_RC = self.exponents[k], self._scaled(logits_RC, k)
        shared = self._shared(exponent, logits_RC.dtype)
        grad_RC = (self._shared_grad if shared else self._separate_grad)(scaled_RC, k, excluded, rows, columns)
        return grad_RC if exponent == 1 else grad_RC.mul_(exponent)

    def _shared_grad(self, scaled_RC, k, excluded, rows, columns):
        top = self.exponents[k] * self.bound
        weights = [_weight(sums.values[:, k], sums.grads[:, k], top) for sums in (rows, columns) if sums]
        parts = _both(scaled_RC.sub_(top).exp_(), excluded, columns is not None)
        if columns is None:
            return parts[0].mul_(weights[0][:, None])
        if parts[0] is parts[1]:
            return parts[0].mul_(weights[0][:, None] + weights[1])
        return parts[0].mul_(weights[0][:, None]).add_(parts[1].mul_(weights[1]))

    def _separate_grad(self, scaled_RC, k, excluded, rows, columns):
        grad_RC = _fill((scaled_RC - rows.values[:, k, None]).exp_(), excluded[0], 0.0).mul_(rows.grads[:, k, None])
        if columns is None:
            return grad_RC
        return grad_RC.add_(
            _fill((scaled_RC - columns.values[:, k]).exp_(), excluded[1], 0.0).mul_(columns.grads[:, k])
        )

    def _shared(self, exponent: float, dtype: torch.dtype) -> bool:
        """Whether exp of twice the bound is well inside the range of numbers."""
        return 2 * abs(exponent) * self.bound < 0.9 * math.log(torch.finfo(dtype).max)

    def _scaled(self, logits_RC: Tensor, k: int) -> Tensor:
        """Return the logits times an exponent; the last exponent may reuse the logits' memory."""
        exponent, last = self.exponents[k], k + 1 == self.width
        if last:
            return logits_RC if exponent == 1 else logits_RC.mul_(exponent)
        return logits_RC * exponent


class Softplus(Kernel):
    """The sum of log(1 + exp(logit)); rows only."""

    width, start = 1, 0.0

    def dense(self, logits_NM, excluded_NM):
        """Return the sums (N, 1)."""
        return _fill(softplus(logits_NM), excluded_NM, 0.0).sum(1, keepdim=True)

    def tile(self, logits_RC, excluded, columns):
        """Return the sums of one tile."""
        return self.dense(logits_RC, excluded[0]), None

    def combine(self, a, b):
        """Return a + b."""
        return a + b

    def logit_grad(self, logits_RC, excluded, rows, columns):
        """Return sigmoid * gradient."""
        return _fill(logits_RC.sigmoid_(), excluded[0], 0.0).mul_(rows.grads)


def softplus(x: Tensor) -> Tensor:
    """Return log(1 + exp(x)), exact everywhere (torch's is the identity above 20)."""
    return -F.logsigmoid(-x)


def _fill(x: Tensor, excluded: Tensor | None, value: float) -> Tensor:
    return x if excluded is None else x.masked_fill(excluded, value)


def _both(e_RC: Tensor, excluded: Masks, columns: bool) -> list[Tensor]:
    """Return the exponentials that rows sum, and that columns do: one tensor unless they exclude different pairs."""
    if not columns or excluded[0] is excluded[1]:
        return [e_RC if excluded[0] is None else e_RC.masked_fill_(excluded[0], 0.0)] * (1 + columns)
    return [_fill(e_RC, mask, 0.0) for mask in excluded]


def _log(summed: Tensor, top: float) -> Tensor:
    return torch.where(summed > 0, summed.log() + top, LOG_ZERO)


def _weight(values: Tensor, grads: Tensor, top: float) -> Tensor:
    """Return the factor that turns an exponential relative to `top` into its gradient."""
    return grads * torch.where(values > LOG_ZERO / 2, top - values, -math.inf).exp()
