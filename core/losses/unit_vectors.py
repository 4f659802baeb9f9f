"""Unit rows, their gradient and their cosines.

Letters: B and N rows, D width.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sensorium.losses.precision import at_least_fp32

CHUNK = 2048
"""Rows that are processed at once where no temporary tensor of the size of all rows is to be allocated."""


class _Normalize(torch.autograd.Function):
    """Rows over their norm. Saves the result, not the rows, and its backward allocates one tensor of their size."""

    @staticmethod
    def forward(ctx, x_ND):
        unit_ND, inverse_N1 = normalize_with_inverse(x_ND)
        ctx.save_for_backward(unit_ND, inverse_N1)
        return unit_ND

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_ND):
        return normalize_backward_(grad_ND.clone(), *ctx.saved_tensors)


def row_chunks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Iterate over chunks of the rows of several tensors with as many rows each; a chunk is a view."""
    return zip(*(tensor.split(CHUNK) for tensor in tensors), strict=True)


def normalize_with_inverse(x_ND: Tensor) -> tuple[Tensor, Tensor]:
    """Return unit rows, and one over each row's norm (N, 1), 0 for a zero row. For a custom backward."""
    norm_N1 = torch.linalg.vector_norm(x_ND, dim=-1, keepdim=True)
    inverse_N1 = torch.where(norm_N1 > 1e-12, norm_N1.reciprocal(), 0.0)
    return x_ND * inverse_N1, inverse_N1


def normalize_backward_(grad_ND: Tensor, unit_ND: Tensor, inverse_N1: Tensor) -> Tensor:
    """Turn, in place, the gradient of unit rows into that of the rows before normalization."""
    for grad_RD, unit_RD, inverse_R1 in row_chunks(grad_ND, unit_ND, inverse_N1):
        grad_RD.sub_(unit_RD * cosines(unit_RD, grad_RD)[..., None]).mul_(inverse_R1)
    return grad_ND


def normalize_rows(x_ND: Tensor) -> Tensor:
    """Return rows of norm one, in fp32 (fp64 stays); a zero row stays zero, and has no gradient."""
    return _Normalize.apply(at_least_fp32(x_ND))


def cosines(x_BD: Tensor, y_BD: Tensor) -> Tensor:
    """Return (B,), the cosine of each unit row of `x` and the row of `y` at the same index."""
    return torch.linalg.vecdot(x_BD, y_BD)
