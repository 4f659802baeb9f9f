"""A loss of your own on two ranks is exactly that of one process: `python two_ranks.py`, or under `torchrun`."""

import os
import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sensorium.collectives import count_rows, gather, share, world

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


def work(rank, folder):
    """Compute loss and gradient of this rank's rows; compare what DDP makes of them with one process on all rows."""
    alone = model()
    expected = loss_of(alone(ROWS))
    expected.backward()
    here = {} if folder is None else {"init_method": f"file://{folder}/meet", "rank": rank, "world_size": 2}
    dist.init_process_group("gloo", **here)
    module = DistributedDataParallel(model())
    mine = ROWS[:9] if world().rank == 0 else ROWS[9:]  # nine rows here, three there
    loss = loss_of(module(mine))
    loss.backward()
    dist.all_reduce(loss.detach().div_(world().size))
    error = (module.module.weight.grad - alone.weight.grad).abs().max()
    print(f"rank {world().rank} of {world().size}: loss {loss.item():.12f}, alone {expected.item():.12f}, gradient off by {error:.0e}")
    dist.destroy_process_group()


if __name__ == "__main__":
    if "RANK" in os.environ:
        work(int(os.environ["RANK"]), None)
    else:
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(work, args=(folder,), nprocs=2)
