"""Molecules through the featurizer: molecules/s, and memory against how many there are.

    python docs/benchmarks/molecule_stream.py moses-train.csv.gz --records 50000 200000 --workers 2

Reads SMILES, decodes and joins them to batches on loader workers, and keeps nothing. `--start` continues where another
pass was interrupted. Memory is the largest resident size of this process and of its largest worker.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import numpy as np

BATCH = 256


def peak() -> tuple[float, float]:
    """Return the largest resident size so far in megabytes: of this process, and of its largest finished child."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return tuple(resource.getrusage(one).ru_maxrss / 1024 for one in who)  # type: ignore[return-value]


def one_pass(path: str, start: int, stop: int, workers: int) -> None:
    """Pass over some of the molecules of a file, and print a row."""
    from sensorium.data.decoding import RecordDecoder
    from sensorium.data.loader import iterate
    from sensorium.data.unreadable import UnreadableRecords
    from sensorium.modalities.molecule.modality import MoleculeModality
    from sensorium.modalities.molecule.sources.files import MoleculeFiles

    source = MoleculeFiles(path)
    before = peak()[0]
    positions = np.arange(start, min(stop, len(source)))
    begun, seen = time.perf_counter(), 0
    decoder = RecordDecoder(source, {"molecule": "molecule"}, {"molecule": MoleculeModality()})
    bad = UnreadableRecords(len(source), 0.01)
    for records in iterate(decoder, positions, batch=BATCH, bad=bad, workers=workers):
        seen += len(records)
    seconds = time.perf_counter() - begun
    process, worker = peak()
    memory = f"{before:,.0f} | {process:,.0f} | {worker:,.0f}"
    print(f"| {start:,} to {stop:,} | {seen:,} | {seen / seconds:,.0f} | {memory} |", flush=True)


def main() -> None:
    """Run every pass in a process of its own, so that none inherits another's peak."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path")
    parser.add_argument("--records", type=int, nargs="+", default=[50_000, 200_000])
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        one_pass(asked.path, asked.start, asked.records[0], asked.workers)
        return
    print("| records | featurized | molecules/s | MB before | MB, this process | MB, a worker |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for records in asked.records:
        options = ["--one", "--records", str(records), "--start", str(asked.start), "--workers", str(asked.workers)]
        subprocess.run([sys.executable, __file__, asked.path, *options], check=True)


if __name__ == "__main__":
    main()
