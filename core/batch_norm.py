"""Batch norm over several ranks: statistics of the rows of all ranks, so that they train as one process.

A norm of any class stays what it is, with the same names of weights, on a CPU too. A class that computes moments itself
does so from `joined_sum` of its sums.
"""

from sensorium.parallel.batch_norm import is_synchronized, joined_sum, synchronize

__all__ = ["is_synchronized", "joined_sum", "synchronize"]
