"""Batch norm over several ranks: statistics of the rows of all ranks, so that they train as one process.

A norm of any class stays what it is, with the same names of weights, on a CPU too. A class that computes moments itself
does so from `joined_sum` of its sums, as `MaskedBatchNorm` does, which leaves padding out.
"""

from sensorium.parallel.batch_norm import is_synchronized, joined_sum, synchronize
from sensorium.parallel.masked_batch_norm import MaskedBatchNorm

__all__ = ["MaskedBatchNorm", "is_synchronized", "joined_sum", "synchronize"]
