"""How fast this machine decodes the records of a recipe, makes views of them and trains on them, some seconds each."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils._pytree import tree_leaves

from sensorium.contracts import Source
from sensorium.data.decoding import overrides_stage, raw_values
from sensorium.data.loader import worker_count
from sensorium.data.splits import assign_parts
from sensorium.data.unreadable import UnreadableRecords
from sensorium.devices import find_device, precision_of
from sensorium.models.learner import make_views
from sensorium.models.plan import Plan
from sensorium.registration.discovery import Extensions
from sensorium.runs.run import Run
from sensorium.seeding import generator
from sensorium.training.auto import resolve, training_size
from sensorium.training.fabric import fabric_of_one
from sensorium.training.feed import feed
from sensorium.training.loop import take_step
from sensorium.training.precision import numeric_settings
from sensorium.training.setup import prepare, restore_modalities
from sensorium.training.state import TrainingState
from sensorium.types import RecordBatch

CHUNK = 32
"""Records that a worker decodes at a time while rates are measured."""
FITTED = 2_000
"""Records of the train part that a modality is fitted on here."""
CPU_BATCH = 64
"""Records of a step on a CPU, whose rate hardly depends on them."""
WARM = 1
"""How often work is done before the clock starts."""


@dataclass(frozen=True)
class DecodeRate:
    """Records that loader workers decode, stage and collate in a second.

    Args:
        workers: loader processes; 0 is the training process itself.
        records_per_second: after the workers have started.
    """

    workers: int
    records_per_second: float


@dataclass(frozen=True)
class Rates:
    """Sizes and rates of a recipe on this machine, on one process.

    Args:
        name: of the recipe.
        records: part of the split -> number of records.
        batch: records of one optimizer step.
        batch_bytes: what a batch takes as it comes from the loader.
        cache_bytes: what all records of the train part take decoded; an estimate from one batch.
        is_cacheable: whether the recipe allows a cache: no view generator changes examples before they are batched.
        cache: `data.cache` of the recipe.
        workers: loader workers of the recipe.
        decode: the rate with no workers, and with those of the recipe.
        device: where the views and the step were measured.
        precision: of the step.
        measured_batch: records of the batch that they were measured with; fewer than `batch` where that takes long.
        views_per_second: records whose views are made in a second.
        steps_per_second: records that whole steps take in a second (views, forward, backward, optimizer), once loaded.
        checkpoint_bytes: learner and optimizer.
        device_bytes: peak memory of the device in a step; None on a CPU.
    """

    name: str
    records: dict[str, int]
    batch: int
    batch_bytes: int
    cache_bytes: int
    is_cacheable: bool
    cache: str
    workers: int
    decode: list[DecodeRate]
    device: str
    precision: str
    measured_batch: int
    views_per_second: float
    steps_per_second: float
    checkpoint_bytes: int
    device_bytes: int | None

    @property
    def loaded_per_second(self) -> float:
        """Records that the loader of the recipe delivers in a second; infinite once they are in a cache."""
        if self.cache != "off":
            return float("inf")
        return next(rate.records_per_second for rate in self.decode if rate.workers == self.workers)

    @property
    def bottleneck(self) -> str:
        """What a step waits for: "loader", "views" or "model"."""
        if self.loaded_per_second < self.steps_per_second:
            return "loader"
        views, step = 1 / self.views_per_second, 1 / self.steps_per_second
        return "views" if views > step / 2 else "model"

    @property
    def epoch_seconds(self) -> float:
        """Estimated duration of one epoch, evaluation left out; loading and computing overlap."""
        return self.records["train"] / min(self.loaded_per_second, self.steps_per_second)


def measure(plan: Plan, source: Source, extensions: Extensions, seconds: float = 3.0) -> Rates:
    """Measure decoding, views and training steps of a recipe.

    Args:
        plan: the parts of the recipe.
        source: where its records come from.
        extensions: the plugins.
        seconds: how long each rate is measured.

    Raises:
        SensoriumError: whatever would stop the training itself before its first step.
    """
    data = plan.recipe.data
    parts = assign_parts(source, {"val": data.val, "test": data.test}, data.split_seed, plan.split())
    resolve(plan, training_size(plan, len(parts["train"])))
    workers = worker_count(data.workers)
    with tempfile.TemporaryDirectory() as folder, numeric_settings(plan.recipe.train):
        measured = _plain(plan)
        run = Run.create(Path(folder) / "run", measured.recipe, extensions)
        few = parts["train"][:FITTED]
        restore_modalities(
            measured, run, lambda name: raw_values(source, few, measured.fields[name], measured.modalities[name])
        )
        bad = UnreadableRecords(len(source), data.max_bad, parts=parts)
        counts = sorted({0, workers})
        decode = [_decode_rate(measured, source, parts["train"], count, seconds, bad) for count in counts]
        fabric = _one_device(plan)
        affordable = int(max(rate.records_per_second for rate in decode) * seconds)
        most = CPU_BATCH if fabric.device.type == "cpu" else max(affordable, CHUNK)
        batch = min(data.batch, max(most, plan.recipe.train.accumulate))
        planned = _with_batch(measured, batch)
        training = prepare(planned, source, parts["train"], run, fabric, None, None, bad)
        with training:
            step = next(iter(training.loader.batches(0, 1)))
            views_rate = _views_rate(training, step, seconds)
            step_rate, peak = _step_rate(training, step, seconds)
    size = sum(_bytes(list(records.batches.values())) for records in step)
    learned = [training.learner.state_dict(), training.optimizer.optimizer.state_dict()["state"]]
    return Rates(
        name=plan.recipe.name,
        records={part: len(rows) for part, rows in parts.items()},
        batch=data.batch,
        batch_bytes=size * data.batch // batch,
        cache_bytes=size * len(parts["train"]) // batch,
        is_cacheable=not any(overrides_stage(views) for views in plan.generators.values()),
        cache=data.cache,
        workers=workers,
        decode=decode,
        device=fabric.device.type,
        precision=precision_of(plan.recipe.train.precision, fabric.device.type),
        measured_batch=batch,
        views_per_second=views_rate,
        steps_per_second=step_rate,
        checkpoint_bytes=_bytes(learned),
        device_bytes=peak,
    )


def _plain(plan: Plan) -> Plan:
    """Return a plan for one process that writes no logs, decodes anew in every step and is not compiled."""
    recipe = plan.recipe
    one = {"devices": 1, "nodes": 1, "strategy": "auto", "compile": False, "warm_start": None}
    changed = {
        "data": recipe.data.model_copy(update={"cache": "off", "workers": 0}),
        "train": recipe.train.model_copy(update=one),
        "log": recipe.log.model_copy(update={"gallery": 1}),
    }
    return replace(plan, recipe=recipe.model_copy(update=changed), loggers={}, callbacks={})


def _with_batch(plan: Plan, batch: int) -> Plan:
    data = plan.recipe.data.model_copy(update={"batch": batch})
    return replace(plan, recipe=plan.recipe.model_copy(update={"data": data}))


def _one_device(plan: Plan) -> Fabric:
    train = plan.recipe.train
    return fabric_of_one(train, find_device(train.accelerator, "train.accelerator"))


def _decode_rate(
    plan: Plan, source: Source, positions: np.ndarray, workers: int, seconds: float, bad: UnreadableRecords
) -> DecodeRate:
    """Measure the loader alone; what the workers have ready when the clock starts is not counted."""
    place = {"workers": workers, "cache": "off", "device": "cpu", "bad": bad, "rank": 0, "world": 1}
    size = max(min(plan.recipe.data.batch, CHUNK), plan.recipe.train.accumulate)
    batches = feed(_with_batch(plan, size), source, positions, **place).batches(0, 10**6)
    for _ in islice(batches, 1 + 2 * workers):
        pass
    start, records = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < seconds or not records:
        records += sum(map(len, next(batches)))
    batches.close()  # type: ignore[attr-defined]
    return DecodeRate(workers, records / spent)


def _views_rate(training: TrainingState, step: list[RecordBatch], seconds: float) -> float:
    """Return how many records have their views made in a second."""
    rng = generator("doctor", device=training.device)

    def views() -> None:
        for records in step:
            make_views(records, training.plan.generators, rng)

    return sum(map(len, step)) * _per_second(views, training.device, seconds)


def _step_rate(training: TrainingState, step: list[RecordBatch], seconds: float) -> tuple[float, int | None]:
    """Return how many records are trained on in a second, and the peak memory of the device."""
    on_cuda = training.device.type == "cuda"
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(training.device)
    rate = sum(map(len, step)) * _per_second(lambda: take_step(training, 0, step), training.device, seconds)
    return rate, torch.cuda.max_memory_allocated(training.device) if on_cuda else None


def _per_second(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Return how often work is done in a second."""

    def finished() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    for _ in range(WARM):
        work()
    start, count = finished(), 0
    while count == 0 or finished() - start < seconds:
        work()
        count += 1
    return count / (finished() - start)


def _bytes(tree: object) -> int:
    """Return the bytes of all tensors and arrays in nested containers."""
    leaves = tree_leaves(tree)
    sizes = [t.numel() * t.element_size() for t in leaves if isinstance(t, Tensor)]
    return sum(sizes) + sum(x.nbytes for x in leaves if isinstance(x, np.ndarray))
