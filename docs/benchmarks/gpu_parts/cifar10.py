"""Part "cifar10": training time of the recipe simclr-cifar10 until kNN on its val part reaches .80, .85 and .88.

Evaluation on the val part (2,504 images, k = 200, all other train images as neighbors) every five epochs; its time is
not counted. A training that ran out of time goes on with the next command.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cifar10_gpu import ON_GPU
from resumable import fit_until, seconds_of

from .session import Row, Settings, Unfinished

LEVELS = (0.80, 0.85, 0.88)
KNN = "evaluate.evaluators={linear: null, health: null, knn: {label: label, k: 200}}"
FULL = [*ON_GPU, "train.epochs=200", "evaluate.every=5", "evaluate.probe=50000", KNN, "log.every=50"]
TINY = [
    *("train.steps=4", "train.accelerator=cpu", "data.batch=16", "data.workers=0", "data.cache=ram", "log.every=1"),
    *("modalities.image.encoder={name: cnn, width: 8}", "evaluate.every=1", "log.loggers={}", KNN),
]


def rows(settings: Settings) -> Iterator[Row]:
    """Yield the one training."""
    yield "simclr-cifar10", partial(measure, settings)


def measure(settings: Settings) -> dict[str, Any]:
    """Train to the end, or until the time is up."""
    folder = settings.out / "runs" / "simclr-cifar10"
    overrides = [*settings.splits, *(TINY if settings.tiny else FULL)]
    if not fit_until(settings.deadline, folder, "simclr-cifar10", overrides):
        raise Unfinished
    reached = reached_levels(folder)
    return {f"seconds to {level:.2f}": reached.get(level) for level in LEVELS} | {
        "best": max(value for _, value in curve(folder)),
        "wall": seconds_of(folder),
    }


def curve(folder: Path) -> list[tuple[float, float]]:
    """Return seconds of training and kNN accuracy of every evaluation."""
    seconds, last, found = 0.0, 0, []
    batch = json.loads((folder / "model" / "config.json").read_text(encoding="utf-8"))["recipe"]["data"]["batch"]
    for line in map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()):
        if "records_per_second" in line:
            seconds += (line["step"] - last) * batch / line["records_per_second"]
            last = line["step"]
        if "val/knn/accuracy" in line:
            found.append((seconds, line["val/knn/accuracy"]))
    return found


def reached_levels(folder: Path) -> dict[float, float]:
    """Return the seconds after which each level was first measured, of those that were reached."""
    points = curve(folder)
    first = {level: next((s for s, value in points if value >= level), None) for level in LEVELS}
    return {level: seconds for level, seconds in first.items() if seconds is not None}
