"""OpenMoji retrieval: a plain loop around open_clip's loss, our clip, and our clip with each kind of hard negative.

    python docs/benchmarks/hard_negatives.py --seeds 0 1 2 --steps 200

Same towers, first weights, batches, steps and optimizer in all rows; test records are looked at once, after training.
No base emoji straddles the parts. Right is the record itself. Options are guesses from the papers, not tuned.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from open_clip.loss import ClipLoss

from sensorium import Source, fit
from sensorium.api import make_plan
from sensorium.data.arrays import in_memory
from sensorium.data.bad import BadRecords
from sensorium.data.loader import Loader
from sensorium.evaluation.measure import Measurement
from sensorium.evaluation.retrieval import Retrieval
from sensorium.evaluation.tables import Figure
from sensorium.extensions import load_extensions
from sensorium.learner import make_views
from sensorium.model import Model
from sensorium.optim import build_optimizer, rate_at, set_rate
from sensorium.plugins.samples.openmoji import OpenMojiSource
from sensorium.preparation import restore_modalities
from sensorium.randomness import generator, seed_globals
from sensorium.recipe import read_recipe
from sensorium.run import Run

FIGURES = ["image->text r@1", "image->text r@10", "text->image r@1", "text->image r@10"]
PLAIN = "plain loop, open_clip's loss"
KINDS: dict[str, dict[str, Any]] = {
    "clip": {},
    "beta .25 (HN-NCE)": {"negatives": {"beta": 0.25}},
    "beta to .5 over the first half": {"negatives": {"beta": 0.5, "ramp": [0.0, 0.5]}},
    "groups are no negatives": {"negatives": {"same": "group"}},
    "groups are positives": {"positives": "group"},
    "memory of 1,024": {"negatives": {"memory": 1024}},
    "memory of 1,024 from half-way": {"negatives": {"memory": 1024, "ramp": [0.5, 0.5]}},
    "memory and 48 mixtures (MoCHi)": {"negatives": {"memory": 1024, "mixed": 48}},
    "wrong captions (NegCLIP)": {},
    "neighbours in one batch": {},
}
"""Row to the options of `clip` beside the plain ones."""


def recipe(kind: str, seed: int, asked: argparse.Namespace, neighbours: Path | None = None) -> dict[str, Any]:
    """Return the recipe of one row."""
    return {
        "name": "hard-negatives",
        "seed": seed,
        "data": {
            "batch": 128,
            "cache": "ram",
            "workers": 0,
            "split_seed": asked.split,
            "neighbours": neighbours and str(neighbours),
        },
        "modalities": {
            "image": {
                "modality": {"name": "image", "size": 32},
                "views": "plain",
                "encoder": {"name": "cnn", "width": 24, "depth": 4},
            },
            "text": {
                "modality": {"name": "text", "vocab": 1000, "length": 16},
                "views": "hard-captions" if "captions" in kind else "plain",
                "encoder": {"name": "transformer", "width": 96, "depth": 2, "heads": 3},
            },
        },
        "objective": {"name": "clip", "dim": 128, **KINDS.get(kind, {})},
        "optimizer": {"lr": 1e-3, "weight_decay": 0.1, "warmup": 0.1},
        "train": {"steps": asked.steps, "accelerator": "cpu"},
        "checkpoint": {"every": 1000},
        "log": {"every": asked.steps},
    }


def measured(model: Model, source: Source, run: Run) -> dict[str, float]:
    """Return retrieval on the test part."""
    table = Measurement(model.plan, source, run).table(model, "test", "embedding")
    return Retrieval("image", "text", positives="record").measure(table) | Retrieval(
        "text", "image", positives="record"
    ).measure(table)


def plain_loop(source: Source, seed: int, asked: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Train by a loop of one page around `ClipLoss`."""
    extensions = load_extensions()
    resolved = read_recipe(recipe("clip", seed, asked), extensions.registry)
    plan, run = make_plan(resolved, extensions), Run.create(folder, resolved, extensions)
    positions = Measurement(plan, source, run).parts["train"]
    values = {name: (source[int(i)].values[field] for i in positions) for name, field in plan.fields.items()}
    restore_modalities(plan, run, values.__getitem__)
    learner, loss_of = plan.learner().train(), ClipLoss()
    optimizer = build_optimizer(learner, resolved.optimizer)
    bad = BadRecords(len(positions), 0.0, run.bad_file)
    loader = Loader(
        source, positions, plan.fields, plan.modalities, seed=seed, batch=128, bad=bad, workers=0, cache="ram"
    )
    for step, (records,) in enumerate(loader.batches(0, asked.steps)):
        seed_globals(seed, "step", step, 0, 0)
        views = make_views(records, plan.generators, generator(seed, "views", step, 0, 0))
        rows = [
            torch.nn.functional.normalize(learner.objective.embed(n, learner.encoders[n](v.batch).pooled), dim=1)
            for n, (v,) in views.items()
        ]
        set_rate(optimizer, rate_at(step, asked.steps, resolved.optimizer))
        loss_of(*rows, learner.objective.log_scale.exp().squeeze()).backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), resolved.train.clip)
        optimizer.step()
        optimizer.zero_grad()
        learner.objective.after_step((step + 1) / asked.steps)
    return measured(Model(plan, learner), source, run)


def nearest(model: Model, source: Source, run: Run, path: Path, count: int = 3) -> Path:
    """Write, for each train picture, the records of other groups whose names the model finds nearest."""
    table = Measurement(model.plan, source, run).table(model, "train", "embedding")
    x, y = (torch.nn.functional.normalize(torch.tensor(table.features[n]), dim=1) for n in ("image", "text"))
    groups = torch.tensor([hash(name) for name in table.groups])
    found = (x @ y.T).masked_fill(groups[:, None] == groups, -2.0).topk(count, dim=1).indices.flatten().tolist()
    pairs = {
        "query": [table.ids[row // count] for row in range(len(found))],
        "negative": [table.ids[row] for row in found],
    }
    pq.write_table(pa.table(pairs), path)
    return path


def main() -> None:
    """Print a table; what a folder of figures holds already is not trained again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--split", type=int, default=0, help="the seed by which records are cut into parts")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--figures", type=Path, default=Path("hard-negatives"))
    options = parser.parse_args()
    options.figures.mkdir(exist_ok=True)
    source = in_memory(OpenMojiSource(size=32), ["image", "text"])
    found: dict[str, list[dict[str, float]]] = {name: [] for name in (PLAIN, *options.kinds)}
    for seed in options.seeds:
        for name, runs in found.items():
            file = options.figures / f"{options.split} {seed} {name}.json"
            if not file.exists():
                file.write_text(json.dumps(one(name, source, seed, options)))
            runs.append(json.loads(file.read_text()))
    report(found)


def one(name: str, source: Source, seed: int, asked: argparse.Namespace) -> dict[str, float]:
    """Train one row with one seed, and return its figures."""
    mined = asked.figures / f"{asked.split} {seed} neighbours.parquet"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "run"
        if name == PLAIN:
            return plain_loop(source, seed, asked, home)
        model = fit(recipe(name, seed, asked, mined if "neighbours" in name else None), source=source, run_dir=home)
        if name == "clip":
            nearest(model, source, model.run, mined)
        return measured(model, source, model.run)


def report(found: dict[str, list[dict[str, float]]]) -> None:
    """Print what there is so far: means, and deviations over seeds."""
    print(f"| mean and deviation of {len(found[PLAIN])} seeds | {' | '.join(FIGURES)} |")
    print(f"| --- |{' ---: |' * len(FIGURES)}")
    for name, runs in found.items():
        columns = [[run[figure] for run in runs] for figure in FIGURES]
        cells = [str(Figure([[value] for value in column])) for column in columns]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
