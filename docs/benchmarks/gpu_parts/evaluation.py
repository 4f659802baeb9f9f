"""Part "evaluation": how long tables take, and how many records are embedded in a second, for a ResNet-18 on CIFAR-10.

The run that is measured is trained for a few steps: what its encoder has learned does not change what it costs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from cifar10_gpu import ON_GPU
from resumable import fit_until

import sensorium

from .session import Row, Settings, Unfinished

FULL = [*ON_GPU, "train.compile=false", "train.steps=20", "evaluate.evaluators={}"]
TINY = [
    *("train.steps=2", "train.accelerator=cpu", "data.batch=16", "data.workers=0", "data.cache=ram"),
    *("modalities.image.encoder={name: cnn, width: 8}", "evaluate.every=null", "log.loggers={}"),
    "evaluate.evaluators={}",
]
TABLES = ("knn", "linear", "health")


def rows(settings: Settings) -> Iterator[Row]:
    """Yield each table, then embedding."""
    for table in TABLES:
        yield f"evaluate, {table}", partial(evaluate, settings, table)
    for part in ("train", "test"):
        yield f"embed, {part} part", partial(embed, settings, part)


def run_of(settings: Settings) -> Any:
    """Return the folder of the run, which is trained first."""
    folder = settings.out / "runs" / "evaluated"
    if not fit_until(
        settings.deadline, folder, "simclr-cifar10", [*settings.splits, *(TINY if settings.tiny else FULL)]
    ):
        raise Unfinished
    return folder


def evaluate(settings: Settings, table: str) -> dict[str, Any]:
    """Measure one table: chance, raw pixels, untrained and trained encoder; decoding is included."""
    folder = run_of(settings)
    label = [] if table == "health" else [f"evaluate.evaluators={{{table}: {{label: label}}}}"]
    start = time.monotonic()
    found = sensorium.evaluate(folder, [table], label)[table]
    spent = time.monotonic() - start
    return {"seconds": spent, "records": sum(found.counts), "records_per_second": sum(found.counts) / spent}


def embed(settings: Settings, part: str) -> dict[str, Any]:
    """Measure embedding of one part; decoding and writing are included."""
    folder = run_of(settings)
    start = time.monotonic()
    count = sensorium.embed(folder, settings.out / f"{part}.npz", part=part)
    spent = time.monotonic() - start
    return {"seconds": spent, "records": count, "records_per_second": count / spent}
