"""CIFAR-10 with hard-negative weights and debiasing, beside plain SimCLR, on a CPU.

    python docs/benchmarks/hard_weights.py cifar10-train.parquet cifar10-test.parquet --steps 150 --seeds 0 1 2

The recipe simclr-cifar10 with a small network. All rows of a seed have the same initial weights, batches and views;
only the loss differs. Prints kNN-200 and linear accuracy; a row that is in the folder of results is not trained again.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from kept import kept

import sensorium
from sensorium.evaluation.knn import KNN
from sensorium.evaluation.linear import Linear
from sensorium.evaluation.run_evaluation import RunEvaluation
from sensorium.evaluation.tables import Metric

ROWS = {
    "plain": "name: simclr",
    "debiased, prior .1": "name: simclr, negatives: {prior: 0.1}",
    "beta 1, prior .1": "name: simclr, negatives: {beta: 1, prior: 0.1}",
    "beta 6, prior .1": "name: simclr, negatives: {beta: 6, prior: 0.1}",
}
METRICS = {"knn": "kNN-200", "linear": "linear"}


def one(asked: argparse.Namespace, row: str, seed: int) -> dict[str, float]:
    """Train one row with one seed, and return its metrics."""
    changes = [
        *(f"data.source.splits.{part}={getattr(asked, part)}" for part in ("train", "test")),
        *("modalities.image.encoder={name: cnn, width: 16}", "data.batch=256", "data.cache=ram", "data.workers=0"),
        *(f"train.steps={asked.steps}", "train.accelerator=cpu", "evaluate.every=null"),
        *("optimizer.lr=0.06", f"seed={seed}", "evaluate.evaluators={}"),
        f"objective={{{ROWS[row]}, temperature: {asked.temperature}, width: 512, dim: 128}}",
    ]
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        model = sensorium.fit("simclr-cifar10", changes, run_dir=Path(folder) / "run")
        evaluation = RunEvaluation(model.plan, model.plan.open_source(), model.run)
        train, test = (evaluation.table(model, part, "features") for part in ("train", "test"))
    found = {}
    for name, evaluator in (("knn", KNN(label="label", k=200)), ("linear", Linear(label="label", Cs=(0.1,)))):
        evaluator.fit(train)
        found[name] = evaluator.measure(test)["accuracy"]
    return found | {"seconds": time.process_time() - start}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--temperature", type=float, default=0.5)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--results", type=Path, default=Path("hard-weights"))
    asked = parser.parse_args()
    print(f"| {len(asked.seeds)} seeds | {' | '.join(METRICS.values())} | CPU seconds a seed |")
    print("| --- | ---: | ---: | ---: |")
    for row in asked.rows:
        runs = []
        for seed in asked.seeds:
            runs.append(kept(asked.results / f"{seed} {row} {asked.temperature}.json", partial(one, asked, row, seed)))
        columns = [[run[name] for run in runs] for name in METRICS]
        cells = [str(Metric([[value] for value in column])) for column in columns]
        print(f"| {row} | {' | '.join(cells)} | {statistics.mean(r['seconds'] for r in runs):.0f} |", flush=True)


if __name__ == "__main__":
    main()
