"""MultiMAE with half of all values missing: each modality predicted from the others, beside chance and neighbors.

    python docs/benchmarks/multimae.py --steps 600 --seeds 0 1 2

"emoji": OpenMoji images with names in two languages; "sensors": synthetic series of two channels with a note in words,
made here. Of the train part half of all values are removed at random, of the test part none. The evaluator is
`cross-prediction`: from all other modalities, and from each one alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from kept import kept

from sensorium import Record, fit
from sensorium.data.arrays import ArraysSource
from sensorium.data.splits import assign_parts
from sensorium.evaluation.tables import Metric
from sensorium.plugins.samples.openmoji import OpenMojiSource
from sensorium.seeding import uniform_of

SPEEDS = {"slow": 1.0, "steady": 2.0, "fast": 4.0}
TRENDS = {"falling": -2.0, "level": 0.0, "rising": 2.0}
PEAKS = {"no peak": 0, "one peak": 1, "two peaks": 2}
CHANNELS = ("left", "right")
STEPS = 96
NAMES = {"emoji": ("image", "text", "text_de"), "sensors": ("signal", "text")}
TEXT = {
    "modality": {"name": "text", "vocab": 1000, "length": 16},
    "views": "plain",
    "encoder": {"name": "transformer", "width": 64, "depth": 2, "heads": 2},
}
TOWERS = {
    "image": {
        "modality": {"name": "image", "size": 32},
        "views": "plain",
        "encoder": {"name": "vit", "patch": 8, "width": 64, "depth": 2, "heads": 2},
    },
    "signal": {
        "modality": "timeseries",
        "views": "plain",
        "encoder": {"name": "patch-transformer", "patch": 8, "width": 64, "depth": 2, "heads": 2},
    },
    "text": TEXT,
    "text_de": TEXT,
}


def sensors(count: int = 2000) -> Iterator[Record]:
    """Yield series of two channels, float (2, 96), with notes that say speed, trend and peaks of one of them."""
    rng = np.random.default_rng(0)
    time = np.linspace(0, 1, STEPS)
    for number in range(count):
        speed, trend, peaks = (list(words)[rng.integers(3)] for words in (SPEEDS, TRENDS, PEAKS))
        channel = int(rng.integers(2))
        values = 0.3 * rng.standard_normal((2, STEPS))
        values[channel] += np.sin(6.28 * SPEEDS[speed] * time + rng.uniform(0, 0.5)) + TRENDS[trend] * (time - 0.5)
        for at in rng.uniform(0.1, 0.9, PEAKS[peaks]):
            values[channel] += 3 * np.exp(-(((time - at) / 0.02) ** 2))
        note = f"{CHANNELS[channel]} channel {speed} and {trend}, {peaks}"
        yield Record(f"series {number}", {"signal": values, "text": note})


def with_holes(record: Record) -> Record:
    """Return a record each of whose values is missing with probability one half, by its id."""
    return replace(record, values={f: v for f, v in record.values.items() if uniform_of("holes", f, record.id) < 0.5})


def source(data: str) -> ArraysSource:
    """Return the records; of the train part half of all values are missing, those of the test part are complete."""
    names = NAMES[data]
    if data == "emoji":
        emoji = OpenMojiSource(languages=["en", "de"], size=32, tones=False)
        records = [emoji[at] for at in range(len(emoji))]
    else:
        records = list(sensors())
    whole = ArraysSource.of_records(records, names)
    made = []
    for part, positions in assign_parts(whole, {"val": 0.0, "test": 0.15}, 0).items():
        for at in positions:
            record = replace(records[at], split=part)
            record = replace(record, values={f: v for f, v in record.values.items() if v is not None})
            record = record if part == "test" else with_holes(record)
            if len(record.values) == len(names) or (record.values and part == "train"):
                made.append(record)
    return ArraysSource.of_records(made, names)


def recipe(data: str, seed: int, steps: int) -> dict[str, Any]:
    """Return the recipe of a data set."""
    each = {"each": {"name": "cross-prediction", "sources": "each"}} if len(NAMES[data]) > 2 else {}
    return {
        "name": "multimae",
        "seed": seed,
        "data": {"batch": 64, "cache": "ram", "workers": 0, "val": 0.0},
        "modalities": {name: TOWERS[name] for name in NAMES[data]},
        "objective": {
            "name": "multimae",
            "alpha": 0.5,
            "width": 96,
            "depth": 2,
            "decoder_width": 64,
            "decoder_depth": 1,
        },
        "optimizer": {"lr": 2e-3, "weight_decay": 0.05, "warmup": 0.1},
        "train": {"steps": steps, "accelerator": "cpu"},
        "checkpoint": {"every": steps},
        "evaluate": {"evaluators": {"cross-prediction": None, **each}},
        "log": {"every": steps, "loggers": {}, "gallery": 1},
    }


def one(data: str, seed: int, steps: int) -> dict[str, Any]:
    """Train once; return table -> row -> metric -> value, and the hash of each split."""
    with tempfile.TemporaryDirectory() as folder:
        model = fit(recipe(data, seed, steps), source=source(data), run_dir=Path(folder) / "run")
        tables = [json.loads(path.read_text()) for path in sorted(model.run.evaluations.glob("*.json"))]
    return {
        table["evaluator"]: {
            "split": f"{table['split']} ({table['train']} train, {table['test']} test)",
            "rows": {
                row: {name: metric["mean"] for name, metric in of_row["metrics"].items()}
                for row, of_row in table["rows"].items()
            },
        }
        for table in tables
    }


def main() -> None:
    """Print the tables; a seed that is in the folder of results is not trained again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--data", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--results", type=Path, default=Path("multimae"))
    options = parser.parse_args()
    for data in options.data:
        runs = [
            kept(options.results / f"{data} {seed}.json", partial(one, data, seed, options.steps))
            for seed in options.seeds
        ]
        for table in runs[0]:
            print(f"\n{data}, {table}: split {runs[0][table]['split']}, {len(runs)} seeds\n")
            names = list(runs[0][table]["rows"]["trained"])
            print(f"| | {' | '.join(names)} |\n| --- |{' ---: |' * len(names)}")
            for row in runs[0][table]["rows"]:
                columns = [[run[table]["rows"][row].get(name) for run in runs] for name in names]
                cells = ["–" if None in values else str(Metric([[value] for value in values])) for values in columns]
                print(f"| {row} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
