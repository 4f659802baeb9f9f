"""Collective operations: what an exact loss over several ranks is made of.

The rule of thumb: **gather the other side, keep your own rows, share the sum.** Each rank computes the terms of its own
rows against the rows of all ranks (`gather`), and returns their sum as its *share* of the mean (`share`):

```python
from sensorium.collectives import count_rows, gather, share


def mean_squared_distance(x_BD, y_BD):
    pairs_BM = (x_BD[:, None] - gather(y_BD)).square().sum(-1)  # my rows against everybody's
    return share(pairs_BM.sum(), count_rows(x_BD) * pairs_BM.shape[1])  # the number of terms on all ranks
```

The mean over ranks that DDP takes of such losses is the loss of the joined batch, and the mean of gradients is its
gradient, uneven ranks and ranks without a row included. So two ranks that have half of a batch each take the step of
one process that has all of it. What is *not* exact: a mean over this rank's rows alone where ranks have unequal numbers
of them, and a function of a mean (a logarithm, a standard deviation) of this rank's rows: gather or sum over ranks
first. Without a process group every function is the identity of one rank, so that a loss is written once.

Every rank must call every collective operation, in the same order, with no rows where it has none. Tensors are
exchanged over the default group, on their device; integers, flags and objects between hosts, so that no call that
returns one waits for a device.
"""

from sensorium.parallel.collectives import (
    World,
    all_gather,
    all_gather_objects,
    all_ranks,
    all_reduce_mean,
    all_reduce_sum,
    any_rank,
    barrier,
    broadcast,
    broadcast_buffers,
    count_rows,
    gather,
    gather_objects,
    rank,
    rank_sizes,
    share,
    world,
    world_size,
)

__all__ = [
    "World",
    "all_gather",
    "all_gather_objects",
    "all_ranks",
    "all_reduce_mean",
    "all_reduce_sum",
    "any_rank",
    "barrier",
    "broadcast",
    "broadcast_buffers",
    "count_rows",
    "gather",
    "gather_objects",
    "rank",
    "rank_sizes",
    "share",
    "world",
    "world_size",
]
