"""Unit rows, and what is made of them one by one.

Letters: B and N rows, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _Unit(torch.autograd.Function):
    """Rows over their length. Saves the result, not the rows, and its backward makes one tensor of their size."""

    @staticmethod
    def forward(ctx, x_ND):
        length_N1 = torch.linalg.vector_norm(x_ND, dim=-1, keepdim=True)
        inverse_N1 = torch.where(length_N1 > 1e-12, length_N1.reciprocal(), 0.0)
        unit_ND = x_ND * inverse_N1
        ctx.save_for_backward(unit_ND, inverse_N1)
        return unit_ND

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_ND):
        unit_ND, inverse_N1 = ctx.saved_tensors
        return (unit_ND * -cosines(unit_ND, grad_ND)[..., None]).add_(grad_ND).mul_(inverse_N1)


def unit(x_ND: Tensor) -> Tensor:
    """Return rows of length one, in fp32 (fp64 stays); a zero row stays zero, and has no gradient."""
    return _Unit.apply(x_ND if x_ND.dtype == torch.float64 else x_ND.float())


def cosines(x_BD: Tensor, y_BD: Tensor) -> Tensor:
    """Return (B,), the cosine of each unit row with the unit row that belongs to it."""
    return torch.linalg.vecdot(x_BD, y_BD)
