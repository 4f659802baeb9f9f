"""Collective operations, with gradients where gradients belong. Every rank must call each of them.

The one rule of exactness: a rank's loss is its *share* (`share`), and what it gathers carries gradient back to the
rank that made it (`all_gather`). The mean over ranks that DDP takes is then the loss, and the gradient, of the joined
batch. Without a process group every function is the identity of one rank.

Tensors are exchanged over the default group, on their device. Integers, flags and objects are exchanged between hosts
(`host_group`), so that no call that returns one waits for a device.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sensorium.errors import SensoriumError
from sensorium.parallel.host_group import exchange_ints, host_group


class World(NamedTuple):
    """The ranks that train together.

    Args:
        rank: this process's rank, from 0.
        size: number of ranks, >= 1.
    """

    rank: int
    size: int


def world() -> World:
    """Return this process's rank and the number of ranks: (0, 1) without a process group."""
    return World(rank(), world_size())


def world_size() -> int:
    """Return the number of ranks."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's rank."""
    return dist.get_rank() if world_size() > 1 else 0


def share(summed: Tensor, count: int | Tensor) -> Tensor:
    """Scale this rank's sum so that the mean over ranks is the mean of the joined batch: its share of the loss.

    Args:
        summed: sum over this rank's terms.
        count: number of terms of all ranks; where it is 0 the share is zero, with zero gradient.
    """
    count = max(count, 1) if isinstance(count, int) else count.clamp(min=1)
    return summed * world_size() / count


def rank_sizes(count: int) -> list[int]:
    """Return every rank's `count`, in rank order.

    Args:
        count: this rank's number, such as its rows.
    """
    return [size for (size,) in exchange_ints([count])]


def count_rows(x: Tensor) -> int:
    """Return the number of rows (first axis) of `x` on all ranks together.

    Args:
        x: any tensor with rows along its first axis; ranks may have uneven numbers of them, and none.
    """
    return sum(rank_sizes(len(x)))


def any_rank(flag: bool) -> bool:
    """Return whether the flag is set on any rank, the same answer on all.

    Args:
        flag: this rank's.
    """
    return any(of_rank for (of_rank,) in exchange_ints([int(flag)]))


def any_ranks(flags: list[bool]) -> list[bool]:
    """Return which of some flags, as many on each rank, are set on any rank."""
    return [any(of_ranks) for of_ranks in zip(*exchange_ints([int(flag) for flag in flags]), strict=True)]


def all_ranks(flags: list[bool]) -> list[bool]:
    """Return which of some flags, as many on each rank, are set on every rank.

    Args:
        flags: this rank's flags; as many on each rank.
    """
    return [all(of_ranks) for of_ranks in zip(*exchange_ints([int(flag) for flag in flags]), strict=True)]


class _AllGather(torch.autograd.Function):
    """Concatenate rows of all ranks; backward sums every rank's gradient of this rank's rows."""

    @staticmethod
    def forward(ctx, x_ND: Tensor, sizes: tuple[int, ...]) -> Tensor:
        ctx.sizes = sizes
        most = max(sizes)
        padded = x_ND.new_zeros(most, *x_ND.shape[1:])
        padded[: x_ND.shape[0]] = x_ND
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx, grad_ND: Tensor):
        grad = grad_ND.contiguous().clone()
        dist.all_reduce(grad)
        return grad.split(ctx.sizes)[rank()], None


def all_gather(x_ND: Tensor) -> tuple[Tensor, int]:
    """Join the rows of all ranks, with gradient. There is no option, and no other way to join rows.

    | ranks | rows that require grad | joined rows | gradient of a rank's rows |
    | --- | --- | --- | --- |
    | one | any | the very rows | as if nothing were joined |
    | several | of every rank | of all, in rank order | the sum over ranks of what each rank's loss gives them |
    | several | of some ranks | the same | the same; the other ranks take part, and their rows get none |
    | several | of no rank | the same | none, and the joined rows require no grad |

    The counts of ranks may be uneven, and zero; they are exchanged between hosts, so that no device waits for them. A
    loss that is this rank's share (see `share`) thus has the gradient of the joined batch after DDP's mean: a factor of
    one, for whatever number of ranks.

    Args:
        x_ND: any tensor with this rank's N rows first; all else of its shape is the same on every rank.

    Returns:
        The joined rows, and the position of this rank's first row among them.

    Raises:
        SensoriumError: for a scalar, which has no rows.
    """
    if x_ND.ndim == 0:
        raise SensoriumError("Ranks join rows, and a scalar has none: hand in `value[None]`, which is one row.")
    if world_size() == 1:
        return x_ND, 0
    requires_grad = x_ND.requires_grad and torch.is_grad_enabled()
    sizes, required = zip(*exchange_ints([x_ND.shape[0], int(requires_grad)]), strict=True)
    if any(required) and not requires_grad:
        x_ND = x_ND.detach().requires_grad_()  # backward is a collective operation: a rank that skips it deadlocks
    return _AllGather.apply(x_ND, sizes), sum(sizes[: rank()])


def gather(x_ND: Tensor) -> Tensor:
    """Join the rows of all ranks, in rank order, with the exact gradient (see `all_gather`).

    Args:
        x_ND: any tensor with this rank's N rows first; all else of its shape is the same on every rank. Ranks may have
            uneven numbers of rows, and none.

    Returns:
        The joined rows, on the same device and of the same dtype.
    """
    return all_gather(x_ND)[0]


def all_reduce_sum(value: Tensor) -> Tensor:
    """Return the sum over ranks of a tensor, without gradient.

    Args:
        value: a tensor of any shape and dtype, the same on every rank.
    """
    if world_size() == 1:
        return value
    value = value.detach().clone()
    dist.all_reduce(value)
    return value


def all_reduce_mean(value: Tensor) -> Tensor:
    """Return the mean over ranks of a tensor, without gradient.

    Args:
        value: a float tensor of any shape, the same on every rank.
    """
    return all_reduce_sum(value) / world_size()


def barrier() -> None:
    """Wait until every rank is here."""
    if world_size() > 1:
        dist.barrier(group=host_group())


def broadcast(value: object) -> object:
    """Return rank 0's value, any that can be pickled, on every rank.

    Args:
        value: rank 0's is returned on every rank; any value that can be pickled.
    """
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, group=host_group())
    return box[0]


def all_gather_objects(value: object) -> list:
    """Return every rank's value, any that can be pickled, in rank order.

    Args:
        value: this rank's; any value that can be pickled.
    """
    found: list = [value] * world_size()
    if world_size() > 1:
        dist.all_gather_object(found, value, group=host_group())
    return found


def gather_objects(value: object) -> list | None:
    """Return every rank's value, any that can be pickled, in rank order, on rank 0; None on the others.

    Args:
        value: this rank's; any value that can be pickled.
    """
    if world_size() == 1:
        return [value]
    found: list | None = [None] * world_size() if rank() == 0 else None
    dist.gather_object(value, found, dst=0, group=host_group())
    return found


def broadcast_buffers(module: nn.Module) -> None:
    """Give every rank the buffers of rank 0.

    Args:
        module: a module, whose buffers are changed in place; the same on every rank.
    """
    if world_size() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)
