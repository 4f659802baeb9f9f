"""Synchronized batch norm: statistics over the rows of all ranks, so that they train as one process on the whole batch.

torch's `SyncBatchNorm` refuses tensors of a CPU, replaces subclasses by itself, and waits for the device in each
forward pass. Here a norm of any class stays what it is, with the same names of weights, and is synchronized where it
calls `torch.nn.functional.batch_norm`. A class that computes moments itself does so from `joined_sum` of its sums.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from sensorium.parallel import collectives


def synchronize(module: nn.Module) -> None:
    """Let every batch norm of a module take its statistics, in training, over the rows of all ranks.

    Every rank must then run the same norms in the same order, with no rows where it has none: each is a collective
    operation, forward and backward. Statistics are those of fp32, or fp64, under any autocast.

    Args:
        module: changed in place; its norms keep their weights, their names and their class's methods.
    """
    for norm in module.modules():
        if isinstance(norm, _BatchNorm) and not isinstance(norm, nn.SyncBatchNorm | _Synchronized):
            cls: Any = type(norm)
            norm.__class__ = _synchronized(cls)


def is_synchronized(norm: nn.Module) -> bool:
    """Return whether a norm's statistics, at this moment, are those of several ranks.

    Args:
        norm: any module.
    """
    return isinstance(norm, _Synchronized) and norm.training and collectives.world_size() > 1


def joined_sum(norm: nn.Module, sums: Tensor) -> Tensor:
    """Return sums over this rank's rows as sums over the rows that a norm joins, with gradient.

    Args:
        norm: a batch norm that computes its own moments.
        sums: any shape, of which the joined sums are, too; float32 or float64.
    """
    return _AllReduce.apply(sums) if is_synchronized(norm) else sums


class _Synchronized(nn.Module):
    """What `synchronize` puts before a norm's class."""

    @torch.compiler.disable
    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return what the norm returns, over the rows of all ranks."""
        if not is_synchronized(self):
            return super().forward(*args, **kwargs)
        with _OverRanks():
            return super().forward(*args, **kwargs)


@cache
def _synchronized(cls: Any) -> Any:
    return type(f"Synchronized{cls.__name__}", (_Synchronized, cls), {})


class _OverRanks(TorchFunctionMode):
    """While it is entered, `F.batch_norm` in training mode is that of the rows of all ranks."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (_batch_norm if function is F.batch_norm else function)(*args, **(kwargs or {}))


def _batch_norm(
    x: Tensor,
    running_mean_D: Tensor | None,
    running_var_D: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`F.batch_norm` of x (B, D, ...); of the joined rows in training, where a rank, or all of them, may have none."""
    if not training:
        return F.batch_norm(x, running_mean_D, running_var_D, weight, bias, False, momentum, eps)
    normed, mean_D, var_D, count = _Normalize.apply(x, weight, bias, eps)
    if running_mean_D is not None and running_var_D is not None:
        step = momentum * (count > 0).to(mean_D.dtype)
        running_mean_D.lerp_(mean_D.to(running_mean_D.dtype), step.to(running_mean_D.dtype))
        unbiased_D = var_D * count / (count - 1).clamp(min=1)
        running_var_D.lerp_(unbiased_D.to(running_var_D.dtype), step.to(running_var_D.dtype))
    return normed


class _Normalize(torch.autograd.Function):
    """Normalize by the joined rows' moments; returns these, and how many rows they are of, without gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
        mean_D, var_D, count = _joined_moments(x)
        normed = torch.empty_like(x)
        if x.numel():
            normed = torch.batch_norm(x, weight, bias, mean_D, var_D, False, 0.0, eps, torch.backends.cudnn.enabled)
        ctx.save_for_backward(x, weight, mean_D, var_D, count)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean_D, var_D, count)
        return normed, mean_D, var_D, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean_D, var_D, count = ctx.saved_tensors
        scale_D = torch.ones_like(mean_D) if weight is None else weight
        grad_x, grad_scale_D, grad_bias_D = torch.zeros_like(x), torch.zeros_like(scale_D), torch.zeros_like(scale_D)
        if x.numel():  # by fixed moments first; then what outputs owe to the moments, which all ranks' rows share
            grad_x, grad_scale_D, grad_bias_D = torch.ops.aten.native_batch_norm_backward(
                grad, x, scale_D, mean_D, var_D, None, None, False, ctx.eps, [True, True, True]
            )
        sums_2D = torch.stack([grad_bias_D, grad_scale_D]).to(mean_D.dtype)
        dist.all_reduce(sums_2D)
        grad_bias_mean_D, grad_scale_mean_D = sums_2D / count.clamp(min=1)
        deviation_D = (var_D + ctx.eps).rsqrt()
        slope_D = scale_D * deviation_D * deviation_D * grad_scale_mean_D
        offset_D = scale_D * deviation_D * grad_bias_mean_D - slope_D * mean_D
        columns = (1, -1, *[1] * (x.ndim - 2))
        grad_x = (grad_x - torch.addcmul(offset_D.view(columns), x, slope_D.view(columns))).to(x.dtype)
        return (
            grad_x,
            grad_scale_D if ctx.needs_input_grad[1] else None,
            grad_bias_D if ctx.needs_input_grad[2] else None,
            None,
        )


class _AllReduce(torch.autograd.Function):
    """The sum over ranks; backward sums every rank's gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return collectives.all_reduce_sum(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return collectives.all_reduce_sum(grad)


def _joined_moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean (D,) and biased variance (D,) of the channels of x (B, D, ...) over all ranks, and their count."""
    channels, rows = x.shape[1], x.numel() // max(x.shape[1], 1)
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    mean_D, var_D = (torch.zeros(channels, dtype=dtype, device=x.device) for _ in range(2))
    if rows:  # the scratch space for running statistics makes those of half precision float32
        scratch = torch.zeros_like(mean_D), torch.ones_like(var_D)
        mean_D, var_D = torch.batch_norm_update_stats(x, *scratch, 0.0)
    mine = torch.cat([mean_D, var_D, mean_D.new_full((1,), rows)])
    gathered = [torch.empty_like(mine) for _ in range(collectives.world_size())]
    dist.all_gather(gathered, mine)
    means_WD, vars_WD, counts_W1 = torch.stack(gathered).split([channels, channels, 1], dim=1)
    count = counts_W1.sum()
    weights_W1 = counts_W1 / count.clamp(min=1)
    mean_D = (weights_W1 * means_WD).sum(0)
    var_D = (weights_W1 * (vars_WD + (means_WD - mean_D).square())).sum(0)
    return mean_D, var_D, count
