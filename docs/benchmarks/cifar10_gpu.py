"""CIFAR-10 on one GPU: SimCLR, BYOL and MoCo v3, ResNet-18, three seeds, in commands of at most ten minutes.

    python docs/benchmarks/cifar10_gpu.py cifar10-train.parquet cifar10-test.parquet --out cifar10-runs
    python docs/benchmarks/cifar10_gpu.py cifar10-train.parquet cifar10-test.parquet --out cifar10-quick --quick

Repeat the first command until it prints that all is done: it resumes a training that ran out of time. Then it prints
one table: kNN with 200 neighbors and the linear probe of the last epoch, mean ± std over seeds.

ResNet-18 with the 3x3 stem for small images, bfloat16, records decoded once and kept on the device, views made there
for a whole batch at a time, the learner compiled. `--quick` runs the same script on a CPU, on a small network and the
first rows of both tables, for a few steps: it shows that the script works, not what the methods can do.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pyarrow.parquet as parquet
from resumable import fit_until, seconds_of, state

import sensorium

OBJECTIVES = {
    "simclr": ["objective={name: simclr, temperature: 0.2, width: 2048, dim: 128}"],
    "byol": ["objective={name: byol, momentum: 0.99}"],
    "moco-v3": ["objective={name: moco-v3, momentum: 0.99}"],
}
"""Overrides of each method; all else is the recipe simclr-cifar10."""
ON_GPU = ["train.precision=bf16-mixed", "train.compile=true", "data.cache=device", "evaluate.every=null"]
QUICK = [
    *("train.steps=60", "train.accelerator=cpu", "data.batch=128", "data.cache=ram"),
    *("data.workers=0", "modalities.image.encoder={name: cnn, width: 16}", "evaluate.every=null"),
]
QUICK_ROWS = {"train": 4000, "test": 1000}
TABLES = {"knn": "kNN-200", "linear": "linear, last epoch"}


def main() -> None:
    """Train what is not yet trained until the deadline, then print the results."""
    asked = arguments()
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.quick:
        shorten(asked)
    deadline = time.monotonic() + 60 * asked.minutes
    runs = {(o, seed): asked.out / f"{o}-{seed}" for o in asked.objectives for seed in range(asked.seeds)}
    for (objective, seed), folder in runs.items():
        if not fit_until(deadline, folder, "simclr-cifar10", overrides_of(objective, seed, asked)):
            print("The time is up: give the command again to go on.")
            break
    else:
        print("All is done.")
    print(table(asked, runs))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--out", type=Path, default=Path("cifar10-runs"))
    parser.add_argument("--objectives", nargs="+", choices=OBJECTIVES, default=list(OBJECTIVES))
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=9.5, help="after which a training is stopped, to be resumed")
    parser.add_argument("--quick", action="store_true", help="a few steps of a small network on the CPU")
    return parser.parse_args()


def shorten(asked: argparse.Namespace) -> None:
    """Replace both tables by their first rows."""
    for part, rows in QUICK_ROWS.items():
        short = asked.out / f"{part}.parquet"
        parquet.write_table(parquet.read_table(getattr(asked, part)).slice(0, rows), short)
        setattr(asked, part, short)


def overrides_of(objective: str, seed: int, asked: argparse.Namespace) -> list[str]:
    """Return the changes of a run to the recipe simclr-cifar10."""
    splits = [f"data.source.splits.{part}={getattr(asked, part)}" for part in ("train", "test")]
    lengths = QUICK if asked.quick else [f"train.epochs={asked.epochs}", *ON_GPU]
    return [*splits, *OBJECTIVES[objective], *lengths, f"seed={seed}"]


def table(asked: argparse.Namespace, runs: dict[tuple[str, int], Path]) -> str:
    """Return the metrics of the finished runs, measured together."""
    lines = [f"| method | seeds | {' | '.join(TABLES.values())} | untrained kNN-200 | minutes a run |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for objective in asked.objectives:
        done = [folder for (name, _), folder in runs.items() if name == objective and state(folder) == "finished"]
        if not done:
            lines.append(f"| {objective} | 0 | open | open | open | open |")
            continue
        found = sensorium.evaluate(done, list(TABLES))
        metrics = [str(found[name].row("trained").metrics["accuracy"]) for name in TABLES]
        metrics.append(str(found["knn"].row("untrained").metrics["accuracy"]))
        minutes = sum(map(seconds_of, done)) / len(done) / 60
        lines.append(f"| {objective} | {len(done)} | {' | '.join(metrics)} | {minutes:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
