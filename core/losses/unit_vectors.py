"""Unit rows, and what is made of them one by one.

Letters: B and N rows, D width.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sensorium.losses.precision import at_least_fp32

CHUNK = 2048
"""How many rows are seen to at once where nothing of the size of all of them is to be made."""


class _Unit(torch.autograd.Function):
    """Rows over their length. Saves the result, not the rows, and its backward makes one tensor of their size."""

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
    """Iterate over runs of rows, of several tensors that have as many rows each; a run is a view."""
    return zip(*(tensor.split(CHUNK) for tensor in tensors), strict=True)


def normalize_with_inverse(x_ND: Tensor) -> tuple[Tensor, Tensor]:
    """Return unit rows, and one over each row's length (N, 1); 0 for a zero row. For who writes its own backward."""
    length_N1 = torch.linalg.vector_norm(x_ND, dim=-1, keepdim=True)
    inverse_N1 = torch.where(length_N1 > 1e-12, length_N1.reciprocal(), 0.0)
    return x_ND * inverse_N1, inverse_N1


def normalize_backward_(grad_ND: Tensor, unit_ND: Tensor, inverse_N1: Tensor) -> Tensor:
    """Turn, in place, the gradient of unit rows into that of the rows they were made of."""
    for grad_RD, unit_RD, inverse_R1 in row_chunks(grad_ND, unit_ND, inverse_N1):
        grad_RD.sub_(unit_RD * cosines(unit_RD, grad_RD)[..., None]).mul_(inverse_R1)
    return grad_ND


def normalize_rows(x_ND: Tensor) -> Tensor:
    """Return rows of length one, in fp32 (fp64 stays); a zero row stays zero, and has no gradient."""
    return _Unit.apply(at_least_fp32(x_ND))


def cosines(x_BD: Tensor, y_BD: Tensor) -> Tensor:
    """Return (B,), the cosine of each unit row with the unit row that belongs to it."""
    return torch.linalg.vecdot(x_BD, y_BD)
