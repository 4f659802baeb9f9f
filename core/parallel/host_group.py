"""The group through which ranks exchange what the host knows: integers, flags and Python objects.

It is gloo's, beside NCCL's for tensors of a device: nothing here waits for a device, and rank 0 may work alone for
hours while the others wait.
"""

from __future__ import annotations

from datetime import timedelta

import torch
import torch.distributed as dist

TIMEOUT = timedelta(hours=24)
"""How long a rank waits for the others, such as for rank 0 to evaluate. A rank that dies is noticed at once."""
_groups: dict[dist.ProcessGroup, dist.ProcessGroup] = {}
"""The default group -> the host group beside it."""


def host_group() -> dist.ProcessGroup:
    """Return the host group of all ranks; every rank must make its first call at the same point."""
    default = dist.group.WORLD
    assert default is not None, "a process group was initialized"
    if default not in _groups:
        _groups.clear()  # those of groups that were destroyed
        made = dist.new_group(backend="gloo", timeout=TIMEOUT)
        assert not isinstance(made, int), "every rank is in the group"
        _groups[default] = made
    return _groups[default]


def leave() -> None:
    """Leave all groups: gloo has threads, beside which a process that ends may abort."""
    _groups.clear()
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def exchange_ints(numbers: list[int]) -> list[list[int]]:
    """Return every rank's integers, as many on each, in rank order."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return [numbers]
    mine = torch.tensor(numbers)
    gathered = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, mine, group=host_group())
    return torch.stack(gathered).tolist()
