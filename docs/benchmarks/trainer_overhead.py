"""Records per second of the trainer over those of a plain PyTorch loop with the same modules, batches and loss.

    python docs/benchmarks/trainer_overhead.py --rounds 5 --steps 60

The two take turns in one process, so that a machine whose speed drifts treats them alike; the metric is the median of
the rounds' ratios. Data are random images in memory: speed does not depend on what they show.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from sensorium.data.arrays import ArraysSource
from sensorium.data.unreadable import UnreadableRecords
from sensorium.models.learner import make_views
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions
from sensorium.runs.run import Run
from sensorium.training.fabric import build_fabric
from sensorium.training.loop import train
from sensorium.training.setup import prepare
from sensorium.training.state import TrainingState


def training(folder: Path, steps: int, batch: int) -> TrainingState:
    """Return a prepared SimCLR training on random images."""
    recipe = {
        "name": "overhead",
        "data": {"batch": batch, "cache": "ram", "workers": 0, "val": 0, "test": 0},
        "modalities": {
            "image": {"modality": {"name": "image", "size": 32}, "views": "simclr", "encoder": {"name": "cnn"}},
        },
        "objective": {"name": "simclr", "width": 256, "dim": 64},
        "train": {"steps": steps, "accelerator": "cpu", "grad_clip": None},
        "checkpoint": {"every": 1000},
        "log": {"loggers": {}},
    }
    extensions = load_extensions()
    resolved = read_recipe(recipe, extensions.registry)
    images = np.random.default_rng(0).integers(0, 255, (4 * batch, 32, 32, 3), dtype=np.uint8)
    run = Run.create(folder, resolved, extensions)
    fabric = build_fabric(resolved.train)
    fabric.launch()
    source = ArraysSource({"image": list(images)})
    plan, bad = make_plan(resolved, extensions), UnreadableRecords(len(source), 0.0)
    return prepare(plan, source, np.arange(len(source)), run, fabric, False, None, bad)


def plain_loop(t: TrainingState, steps: int) -> None:
    """Train as one would by hand."""
    learner = t.plan.learner()
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-3, weight_decay=0.05)
    rng = torch.Generator().manual_seed(0)
    learner.train()
    for parts in t.loader.batches(0, steps):
        outcome = learner(make_views(parts[0], t.plan.generators, rng))
        optimizer.zero_grad(set_to_none=True)
        outcome.loss.backward()
        optimizer.step()


def seconds(work) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=256)
    asked = parser.parse_args()
    ratios, ours, theirs = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(asked.rounds + 1):
            t = training(Path(folder) / str(number), asked.steps, asked.batch)
            t.loader.prepare()
            plain = seconds(lambda t=t: plain_loop(t, asked.steps))
            trained = seconds(lambda t=t: train(t))
            t.close("finished")
            if number:  # the first round warms up
                ours.append(asked.steps * asked.batch / trained)
                theirs.append(asked.steps * asked.batch / plain)
                ratios.append(plain / trained)
    print("| | records/s, median | least | most |\n| --- | ---: | ---: | ---: |")
    for name, values in (("plain loop", theirs), ("trainer", ours)):
        print(f"| {name} | {statistics.median(values):,.0f} | {min(values):,.0f} | {max(values):,.0f} |")
    print(f"| trainer / plain loop | {statistics.median(ratios):.3f} | {min(ratios):.3f} | {max(ratios):.3f} |")


if __name__ == "__main__":
    main()
