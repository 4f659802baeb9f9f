"""OpenMoji images with names in two languages: the cost of missing values, and emergent alignment.

    python docs/benchmarks/three_modalities.py --steps 200 --seeds 0 1 2

Half of all values are removed at random. `align` on every pair that is left, against `align` on the records that are
still complete, same towers and steps; then `align` on image-English and English-German alone, evaluated on
image-German. Retrieval on complete test records, which no training saw; the positive is the record itself.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

from kept import kept

from sensorium import Record, fit
from sensorium.data.arrays import ArraysSource
from sensorium.data.splits import assign_parts
from sensorium.evaluation.retrieval import Retrieval
from sensorium.evaluation.run_evaluation import RunEvaluation
from sensorium.evaluation.tables import Metric
from sensorium.plugins.samples.openmoji import OpenMojiSource
from sensorium.seeding import uniform_of

FIELDS = ("image", "text", "text_de")
ROWS = (
    "half missing, every pair left",
    "half missing, complete records",
    "nothing missing",
    "image-text and text-text_de",
)


def with_holes(record: Record) -> Record:
    """Return a record each of whose values is missing with probability one half, by its id."""
    return replace(record, values={f: v for f, v in record.values.items() if uniform_of("holes", f, record.id) < 0.5})


def sources(row: str) -> ArraysSource:
    """Return the records of a row; those of the test part are complete."""
    given = OpenMojiSource(languages=["en", "de"], size=32)
    records = [given[i] for i in range(len(given))]
    parts = assign_parts(given, {"val": 0.0, "test": 0.1}, 0)
    made = []
    for part, positions in parts.items():
        for position in positions:
            record = replace(records[position], split=part)
            record = replace(record, values={f: v for f, v in record.values.items() if v is not None})
            if part == "test":
                made += [record] if len(record.values) == len(FIELDS) else []
                continue
            kept = with_holes(record) if "half" in row else record
            if kept.values and ("complete" not in row or len(kept.values) == len(FIELDS)):
                made.append(kept)
    return ArraysSource.of_records(made, FIELDS)


def recipe(row: str, seed: int, steps: int) -> dict[str, Any]:
    """Return the recipe of a row."""
    text = {
        "modality": {"name": "text", "vocab": 1000, "length": 16},
        "views": "plain",
        "encoder": {"name": "transformer", "width": 96, "depth": 2, "heads": 3},
    }
    image = {
        "modality": {"name": "image", "size": 32},
        "views": "plain",
        "encoder": {"name": "cnn", "width": 24, "depth": 4},
    }
    pairs = [["image", "text"], ["text", "text_de"]] if "and" in row else "all"
    return {
        "name": "three-modalities",
        "seed": seed,
        "data": {"batch": 128, "cache": "ram", "workers": 0, "val": 0.0},
        "modalities": {"image": image, "text": text, "text_de": text},
        "objective": {"name": "align", "dim": 128, "pairs": pairs},
        "optimizer": {"lr": 1e-3, "weight_decay": 0.1, "warmup": 0.1},
        "train": {"steps": steps, "accelerator": "cpu"},
        "checkpoint": {"every": 1000},
        "log": {"every": steps},
    }


def one(row: str, seed: int, steps: int) -> dict[str, float]:
    """Train one row, and return recall of the first ten for every pair, both directions."""
    source = sources(row)
    with tempfile.TemporaryDirectory() as folder:
        model = fit(recipe(row, seed, steps), source=source, run_dir=Path(folder) / "run")
        table = RunEvaluation(model.plan, source, model.run).table(model, "test", "embedding")
    metrics: dict[str, float] = {"records": float(len(source) - len(table))}
    for pair in combinations(FIELDS, 2):
        for query, target in (pair, pair[::-1]):
            found = Retrieval(query, target, positives="record").measure(table)
            metrics[f"{query}->{target}"] = found[f"{query}->{target} R@10"]
    return metrics


def main() -> None:
    """Print a table; a row that is in the folder of results is not trained again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--results", type=Path, default=Path("three-modalities"))
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {row: [] for row in ROWS}
    for seed in options.seeds:
        for row, runs in found.items():
            runs.append(kept(options.results / f"{seed} {row}.json", partial(one, row, seed, options.steps)))
    names = list(found[ROWS[0]][0])
    print(f"| R@10, mean and deviation of {len(options.seeds)} seeds | {' | '.join(names)} |")
    print(f"| --- |{' ---: |' * len(names)}")
    for row, runs in found.items():
        columns = [[run[name] for run in runs] for name in names]
        cells = [str(Metric([[value] for value in column])) for column in columns]
        print(f"| {row} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
