"""OpenMoji retrieval: a plain loop around open_clip's loss, our clip, and our clip with each kind of hard negative.

    python docs/benchmarks/hard_negatives.py --seeds 0 1 2 --steps 300
    python docs/benchmarks/hard_negatives.py --seeds 0 1 2 --steps 300 --second

Same towers, initial weights, batches, steps and optimizer in all rows; test records are used once, after training. With
--second every row is a second training, which starts from the `clip` model of the same seed. No base emoji is in two
parts. The positive is the record itself; the last column is how often an image is nearer to its name than to a
corrupted caption of it. Options are taken from the papers, not tuned.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import kept
from open_clip.loss import ClipLoss
from torch.nn.functional import normalize

from sensorium import Source, fit, load, mine
from sensorium.data.arrays import in_memory
from sensorium.data.loader import Loader
from sensorium.data.unreadable import UnreadableRecords
from sensorium.evaluation.retrieval import Retrieval
from sensorium.evaluation.run_evaluation import RunEvaluation
from sensorium.evaluation.tables import Metric
from sensorium.modalities.text.hard_negative_captions import HardNegativeCaptionViews
from sensorium.models.learner import make_views
from sensorium.models.model import Model
from sensorium.models.plan import make_plan
from sensorium.plugins.samples.openmoji import OpenMojiSource
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions
from sensorium.runs.run import Run
from sensorium.seeding import generator, seed_globals
from sensorium.training.learning_rate import LearningRate
from sensorium.training.setup import restore_modalities

METRICS = ["image->text R@1", "image->text R@10", "text->image R@1", "text->image R@10", "true over corrupted"]
PLAIN = "plain loop, open_clip's loss"
KINDS: dict[str, dict[str, Any]] = {
    "clip": {},
    "beta .25 (HN-NCE)": {"negatives": {"beta": 0.25}},
    "beta to .5 over the first half": {"negatives": {"beta": 0.5, "warmup": [0.0, 0.5]}},
    "groups are no negatives": {"negatives": {"exclude": "group"}},
    "groups are positives": {"positives": "group"},
    "memory of 1,024": {"negatives": {"memory": 1024}},
    "memory of 1,024 from half-way": {"negatives": {"memory": 1024, "warmup": [0.5, 0.5]}},
    "memory and 48 mixtures (MoCHi)": {"negatives": {"memory": 1024, "mixed": 48}},
    "corrupted captions (NegCLIP)": {},
    "neighbors in one batch": {},
    "mined names": {},
    "guide, the names' own features": {"negatives": {"guide": "text"}},
}
"""Row to the options of `clip` beside the plain ones."""


def recipe(kind: str, seed: int, asked: argparse.Namespace, start: Path | None = None) -> dict[str, Any]:
    """Return the recipe of one row, which starts from the weights of the run `start`."""
    mined = str(mined_file(seed, asked))
    return {
        "name": "hard-negatives",
        "seed": seed,
        "data": {
            "batch": 128,
            "cache": "ram",
            "workers": 0,
            "split_seed": asked.split,
            "neighbors": mined if "neighbors" in kind else None,
            "negatives": mined if "mined" in kind else None,
        },
        "modalities": {
            "image": {
                "modality": {"name": "image", "size": 32},
                "views": "plain",
                "encoder": {"name": "cnn", "width": 24, "depth": 4},
            },
            "text": {
                "modality": {"name": "text", "vocab": 1000, "length": 16},
                "views": "hard-negative-captions" if "captions" in kind else "plain",
                "encoder": {"name": "transformer", "width": 96, "depth": 2, "heads": 3},
            },
        },
        "objective": {"name": "clip", "dim": 128, **KINDS.get(kind, {})},
        "optimizer": {"lr": 1e-3, "weight_decay": 0.1, "warmup": 0.1},
        "train": {"steps": asked.steps, "accelerator": "cpu", "warm_start": start and str(start)},
        "checkpoint": {"every": 1000, "keep": 1},
        "log": {"every": asked.steps},
    }


def measured(model: Model, source: Source, run: Run) -> dict[str, float]:
    """Return retrieval on the test part."""
    evaluation = RunEvaluation(model.plan, source, run)
    table = evaluation.table(model, "test", "embedding")
    found = [Retrieval(*sides, positives="record").measure(table) for sides in (("image", "text"), ("text", "image"))]
    names = [source[int(i)].values["text"] for i in evaluation.parts["test"]]
    return found[0] | found[1] | {"true over corrupted": true_over_corrupted(model, table.features["image"], names)}


def true_over_corrupted(model: Model, images: np.ndarray, names: list[str]) -> float:
    """Return how often an image is nearer to its name than to a corrupted caption of it (`hard-negative-captions`)."""
    text = model.plan.modalities["text"]
    batch = text.collate([text.decode(name) for name in names])
    views = HardNegativeCaptionViews(text)(batch, generator(0, "wrong forms"))
    x_BD = normalize(torch.tensor(images), dim=1)
    true_B, corrupted_B = ((x_BD * normalize(model.encode("text", view.batch), dim=1)).sum(1) for view in views)
    return float((true_B > corrupted_B).float().mean())


def plain_loop(source: Source, seed: int, asked: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Train by a plain loop around `ClipLoss`."""
    extensions = load_extensions()
    resolved = read_recipe(recipe("clip", seed, asked), extensions.registry)
    plan, run = make_plan(resolved, extensions), Run.create(folder, resolved, extensions)
    positions = RunEvaluation(plan, source, run).parts["train"]
    values = {name: (source[int(i)].values[field] for i in positions) for name, field in plan.fields.items()}
    restore_modalities(plan, run, values.__getitem__)
    learner, loss_of = plan.learner().train(), ClipLoss()
    optimizer = plan.optimization.optimizer(learner)
    lr = LearningRate(optimizer, plan.optimization, asked.steps)
    bad = UnreadableRecords(len(source), 0.0, run.unreadable_file)
    loader = Loader(
        source, positions, plan.fields, plan.modalities, seed=seed, batch=128, bad=bad, workers=0, cache="ram"
    )
    for step, (records,) in enumerate(loader.batches(0, asked.steps)):
        seed_globals(seed, "step", step, 0, 0)
        views = make_views(records, plan.generators, generator(seed, "views", step, 0, 0))
        rows = [
            normalize(learner.objective.embed(n, learner.encoders[n](v.batch).pooled), dim=1)
            for n, (v,) in views.items()
        ]
        lr.set(step)
        loss_of(*rows, learner.objective.log_scale.exp().squeeze()).backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), resolved.train.grad_clip)
        optimizer.step()
        optimizer.zero_grad()
        learner.objective.after_step((step + 1) / asked.steps)
    return measured(Model(plan, learner), source, run)


def mined_file(seed: int, asked: argparse.Namespace) -> Path:
    """Return the file of the hard negatives mined by a seed's `clip` in the train part."""
    return asked.results / f"{asked.split} {seed} mined.parquet"


def first_run(source: Source, seed: int, asked: argparse.Namespace) -> Path:
    """Return the run of a seed's `clip`, trained when it is not there yet, its negatives mined."""
    folder = asked.results / f"{asked.split} {seed} clip"
    if not mined_file(seed, asked).exists():
        shutil.rmtree(folder, ignore_errors=True)
        fit(recipe("clip", seed, asked), source=source, run_dir=folder)
        mine(folder, mined_file(seed, asked), query="image", target="text", source=source)
    return folder


def main() -> None:
    """Print a table; a row that is in the folder of results is not trained again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--split", type=int, default=0, help="the seed by which records are cut into parts")
    parser.add_argument("--second", action="store_true", help="start from the model of `clip`")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--results", type=Path, default=Path("hard-negatives"))
    options = parser.parse_args()
    source = in_memory(OpenMojiSource(size=32), ["image", "text"])
    rows = options.kinds if options.second else (PLAIN, *options.kinds)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in rows}
    for seed in options.seeds:
        for name, runs in found.items():
            file = options.results / f"{options.split} {seed} {'second ' * options.second}{name}.json"
            runs.append(kept(file, partial(one, name, source, seed, options)))
    report(found)


def one(name: str, source: Source, seed: int, asked: argparse.Namespace) -> dict[str, float]:
    """Train one row with one seed, and return its metrics."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "run"
        if name == PLAIN:
            return plain_loop(source, seed, asked, home)
        first = first_run(source, seed, asked)
        if name == "clip" and not asked.second:
            model = load(first)
        else:
            model = fit(recipe(name, seed, asked, first if asked.second else None), source=source, run_dir=home)
        return measured(model, source, model.run)


def report(found: dict[str, list[dict[str, float]]]) -> None:
    """Print what there is so far: means, and deviations over seeds."""
    seeds = len(next(iter(found.values())))
    print(f"| mean and deviation of {seeds} seeds | {' | '.join(METRICS)} |")
    print(f"| --- |{' ---: |' * len(METRICS)}")
    for name, runs in found.items():
        columns = [[run[metric] for run in runs] for metric in METRICS]
        cells = [str(Metric([[value] for value in column])) for column in columns]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
