"""Eight UCR and UEA sets on their fixed splits: an encoder trained without labels, then a support vector machine.

    python docs/benchmarks/ucr_uea.py --recipe ts2vec --seeds 5 --runs runs/ucr
    python docs/benchmarks/ucr_uea.py --recipe ts2vec train.steps=200

The sets come with aeon. One recipe serves them all; only the number of steps follows the authors' rule of size: 200
for train parts of at most 100,000 values, 600 for larger ones. Prints test accuracies of chance, baseline features,
the untrained and the trained encoder, and the CPU seconds of one training with its evaluation. With --runs, runs that
are finished are measured again, not trained again. Nothing is chosen by the test part.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import sensorium
from sensorium.modalities.timeseries.sources.aeon import Aeon

SETS = (
    "ArrowHead",
    "GunPoint",
    "ItalyPowerDemand",
    "OSULeaf",
    "ACSF1",
    "PickupGestureWiimoteZ",
    "BasicMotions",
    "JapaneseVowels",
)
PUBLISHED = (0.857, 0.980, 0.925, 0.851, 0.910, 0.823, 0.975, 0.984)
"""Of the TS2Vec paper (Yue et al. 2022)."""
LARGE = 100_000
"""Values of a train part above which the authors train 600 steps instead of 200."""


def steps(name: str) -> int:
    """Return the steps that the authors' rule gives a data set."""
    source = Aeon(name)
    values = [source[i].values["timeseries"] for i in range(len(source)) if source.key(i).split == "train"]
    return 600 if len(values) * len(values[0]) * max(x_CT.shape[1] for x_CT in values) > LARGE else 200


def trained(recipe: str, name: str, seed: int, folder: Path, overrides: list[str]) -> float:
    """Train one set unless it is done; return the CPU seconds that it took."""
    clock = folder / "seconds.txt"
    if not clock.is_file():
        begin = time.process_time()
        changes = [f"data.source.dataset={name}", f"train.steps={steps(name)}", f"seed={seed}", *overrides]
        sensorium.fit(recipe, changes, run_dir=folder)
        clock.write_text(f"{time.process_time() - begin:.1f}")
    return float(clock.read_text())


def ranks(rows: dict[str, list[float]]) -> dict[str, float]:
    """Return each row's mean rank over the sets, 1 for the best; ties get their mean rank."""
    found: dict[str, list[float]] = {row: [] for row in rows}
    for column in zip(*rows.values(), strict=True):
        for row, value in zip(rows, column, strict=True):
            found[row].append(sum(v > value for v in column) + (sum(v == value for v in column) + 1) / 2)
    return {row: statistics.mean(values) for row, values in found.items()}


def main() -> None:
    """Train, measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="ts2vec", help="a shipped recipe or a file")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=Path, help="a folder of runs; finished ones are not trained again")
    parser.add_argument("--evaluator", default="svm", help="the recipe's evaluator whose accuracy is taken")
    asked, overrides = parser.parse_known_args()
    rows: dict[str, list[float]] = {}
    print("| set | chance | baseline | untrained | trained | published | CPU seconds |\n|" + " --- |" * 7)
    with tempfile.TemporaryDirectory() as scratch:
        for name in asked.sets:
            folders = [(asked.runs or Path(scratch)) / asked.recipe / name / str(s) for s in range(asked.seeds)]
            seconds = [trained(asked.recipe, name, s, folder, overrides) for s, folder in enumerate(folders)]
            table = sensorium.evaluate(folders, [asked.evaluator])[asked.evaluator]
            metrics = {row.name: row.metrics["accuracy"] for row in table.rows}
            for row, metric in metrics.items():
                rows.setdefault(row, []).append(metric.mean)
            cells = " | ".join(str(metric) for metric in metrics.values())
            published = PUBLISHED[SETS.index(name)]
            print(f"| {name} | {cells} | {published:.3f} | {statistics.mean(seconds):.0f} |", flush=True)
    print("\n| | mean accuracy | mean rank |\n| --- | --- | --- |")
    for row, rank in ranks(rows).items():
        print(f"| {row} | {statistics.mean(rows[row]):.3f} | {rank:.2f} |")


if __name__ == "__main__":
    main()
