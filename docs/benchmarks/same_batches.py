"""The matrix of equal batches: every store, on 1, 2 and 3 ranks, with 0, 1 and 4 workers, from two steps on.

    python -m docs.benchmarks.same_batches

Prints what the records of a step cost of any number of records, the first step of an epoch included. Then it prints a
hash of the ids and views of all records of all steps for each cell, and how many hashes there are: one for steps from
the first, one for those from a later step. It fails when there are more.
"""

from __future__ import annotations

import argparse
import sys
import time
from hashlib import blake2b
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from sensorium.data.order import EpochOrder
from tests.distributed.ranks import on_ranks
from tests.distributed.test_same_batches import SOURCES, STEPS, each_case, joined, write

LATER = 4
"""The later step; epochs have three."""


def hash_of(steps: list) -> str:
    """Return a hash of the ids and views of all records of some steps."""
    return blake2b(repr(steps).encode(), digest_size=6).hexdigest()


def print_cost_of_order() -> None:
    """Print how long the records of one step take, the median of 101 steps, each of another epoch, without data."""
    print("records              batch  microseconds a step")
    for count, batch in product((10**6, 10**9, 2**62), (256, 65_536)):
        order, seconds = EpochOrder(count, batch, seed=0), []
        for epoch in range(101):
            start = time.perf_counter()
            order.positions(epoch * order.steps_per_epoch + 1)
            seconds.append(time.perf_counter() - start)
        print(f"{count:<20} {batch:>5}  {1e6 * median(seconds):>19.0f}", flush=True)


def main() -> None:
    """Print the matrix."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 4])
    parser.add_argument("--sources", nargs="+", default=list(SOURCES))
    asked = parser.parse_args()
    print_cost_of_order()
    found: dict[int, set[str]] = {0: set(), LATER: set()}
    print("source       ranks  workers  first step  steps  hash")
    with TemporaryDirectory() as folder:
        written = {name: write(name, Path(folder, name)) for name in asked.sources}
        cells = list(product(asked.sources, asked.workers, found))
        cases = [{"source": written[name], "workers": workers, "start": start} for name, workers, start in cells]
        for world in asked.ranks:
            place = Path(folder, f"ranks-{world}")
            place.mkdir()
            of_cells = zip(*on_ranks(world, each_case, place, cases), strict=True)
            for (name, workers, start), ranks in zip(cells, of_cells, strict=True):
                steps = joined(ranks)
                found[start].add(hash_of(steps))
                print(
                    f"{name:<12} {world:>5}  {workers:>7}  {start:>10}  {len(steps):>5}  {hash_of(steps)}", flush=True
                )
                assert len(steps) == STEPS - start
    for start, hashes in found.items():
        print(f"from step {start}: {len(hashes)} hash{'es' * (len(hashes) != 1)}")
    sys.exit(any(len(hashes) != 1 for hashes in found.values()))


if __name__ == "__main__":
    main()
