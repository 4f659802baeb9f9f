"""What ranks say to each other, with gradients where gradients belong.

The one rule of exactness: a rank's loss is its *share*, its rows' sum times world over the joined rows, and what it
gathers carries gradient back to the rank that made it. The mean over ranks that DDP takes is then the loss, and the
gradient, of the joined batch. Without a process group every function is the identity of one rank.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn


def world() -> int:
    """Return the number of ranks."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's rank."""
    return dist.get_rank() if world() > 1 else 0


def sizes_of(count: int, device: torch.device) -> list[int]:
    """Return every rank's `count`."""
    return [size for (size,) in _told([count], device)]


def _told(numbers: list[int], device: torch.device) -> list[list[int]]:
    """Return every rank's whole numbers, as many on each, in rank order."""
    if world() == 1:
        return [numbers]
    mine = torch.tensor(numbers, device=device)
    told = [torch.empty_like(mine) for _ in range(world())]
    dist.all_gather(told, mine)
    return torch.stack(told).tolist()


class _Gather(torch.autograd.Function):
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


def gather(x_ND: Tensor) -> tuple[Tensor, int]:
    """Join the rows of all ranks. This is the whole policy; there is no option, and no other way to join rows.

    | ranks | rows that want gradient | joined rows | gradient of a rank's own rows |
    | --- | --- | --- | --- |
    | one | any | the very rows | as if nothing were joined |
    | several | of every rank | of all, in rank order | the sum over ranks of what each rank's loss gives them |
    | several | of some ranks | the same | the same; the other ranks take part, and their rows get none |
    | several | of no rank | the same | none, and the joined rows carry none |

    The counts of ranks may be uneven, and zero. A loss that is this rank's share (see above) thus has the gradient of
    the joined batch after DDP's mean: a factor of one, for whatever number of ranks.

    Args:
        x_ND: any tensor with this rank's N rows first; all else of its shape is the same on every rank.

    Returns:
        The joined rows, and the position of this rank's first row among them.
    """
    if world() == 1:
        return x_ND, 0
    wants = x_ND.requires_grad and torch.is_grad_enabled()
    sizes, wanted = zip(*_told([x_ND.shape[0], int(wants)], x_ND.device), strict=True)
    if any(wanted) and not wants:
        x_ND = x_ND.detach().requires_grad_()  # backward is a meeting: who stayed away would keep the others waiting
    return _Gather.apply(x_ND, sizes), sum(sizes[: rank()])


def total(value: Tensor) -> Tensor:
    """Return the sum over ranks of a tensor that carries no gradient."""
    if world() == 1:
        return value
    value = value.detach().clone()
    dist.all_reduce(value)
    return value


def mean(value: Tensor) -> Tensor:
    """Return the mean over ranks of a tensor that carries no gradient."""
    return total(value) / world()


def barrier() -> None:
    """Wait until every rank is here."""
    if world() > 1:
        dist.barrier()


def any_rank(flag: bool, device: torch.device) -> bool:
    """Return whether the flag is set on any rank, the same answer on all."""
    if world() == 1:
        return flag
    return bool(total(torch.tensor(float(flag), device=device)) > 0)


def broadcast(value: object) -> object:
    """Return rank 0's value, any that can be pickled, on every rank."""
    if world() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def all_gather_objects(value: object) -> list:
    """Return every rank's value, any that can be pickled, in rank order."""
    found: list = [value] * world()
    if world() > 1:
        dist.all_gather_object(found, value)
    return found


def broadcast_buffers(module: nn.Module) -> None:
    """Give every rank the buffers of rank 0."""
    if world() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)
