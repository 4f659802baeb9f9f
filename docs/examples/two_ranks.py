"""A loss of your own is exact on two ranks: `python two_ranks.py`, or `torchrun --nproc_per_node 2 two_ranks.py`."""

import os
import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sensorium.collectives import all_reduce_mean, count_rows, gather, share, world

ROWS = torch.randn(12, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def loss_of(z):
    """Attract each row to the mean of all rows, of all ranks; repel it from every single one."""
    everybody = gather(z)  # with gradient: a row learns from the losses of all ranks
    attraction = (z - everybody.mean(0)).square().sum(1)
    repulsion = (-torch.cdist(z, everybody)).exp().sum(1)
    return share((attraction + repulsion).sum(), count_rows(z))  # not .mean(): ranks may have unequal rows


def model():
    """Return the same weights everywhere."""
    torch.manual_seed(0)
    return nn.Linear(8, 4).double()


def work(number, group=None):
    """Compare what DDP makes of the ranks' losses and gradients with one process on all rows."""
    alone = model()
    expected = loss_of(alone(ROWS))
    expected.backward()
    dist.init_process_group("gloo", **({"rank": number, **group} if group else {}))  # else torchrun says
    module = DistributedDataParallel(model())
    loss = loss_of(module(ROWS[:9] if world().rank == 0 else ROWS[9:]))  # nine rows here, three there
    loss.backward()
    loss, error = all_reduce_mean(loss), (module.module.weight.grad - alone.weight.grad).abs().max()
    print(f"{world()}: loss {loss:.12f}, of one process {expected:.12f}; gradients differ by {error:.0e}")
    dist.destroy_process_group()


if __name__ == "__main__":
    if "RANK" in os.environ:
        work(0)
    else:
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(work, args=({"init_method": f"file://{folder}/meet", "world_size": 2},), nprocs=2)
