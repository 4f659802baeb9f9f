"""One optimizer step as the training loop takes it, on the emulated device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.accelerators.cpu import CPUAccelerator
from lightning_fabric.strategies import SingleDeviceStrategy

from sensorium.contracts import ViewGenerator
from sensorium.models.learner import Learner
from sensorium.models.plan import Plan
from sensorium.recipe.schema import Recipe
from sensorium.testing.emulation.device import DEVICE_TYPE, emulated_device
from sensorium.testing.emulation.synchronizations import Synchronization
from sensorium.testing.emulation.tensor import Emulation
from sensorium.training.finite_guard import Guard
from sensorium.training.loop import take_step
from sensorium.training.optimizers import build_optimizer
from sensorium.training.precision import precision_plugin
from sensorium.training.state import Training
from sensorium.types import RecordBatch


@dataclass
class EmulatedSteps:
    """What came of optimizer steps on the emulated device.

    Args:
        losses: the loss of every step.
        synchronizations: what made the host wait for the device, by step.
    """

    losses: list[float] = field(default_factory=list)
    synchronizations: list[list[Synchronization]] = field(default_factory=list)


def emulate_steps(
    learner: Learner,
    generators: Mapping[str, ViewGenerator],
    batches: list[RecordBatch],
    precision: str = "bf16-mixed",
) -> EmulatedSteps:
    """Train a learner on the emulated device, one optimizer step for each batch, as the training loop does.

    Args:
        learner: on the CPU; it is moved to the device.
        generators: modality name -> view generator.
        batches: the records of each step, on the CPU, as the loader collates them.
        precision: the precision of the steps, "bf16-mixed" or "32-true".

    Raises:
        RuntimeError: where CUDA would raise one: tensors of several devices, or of dtypes that do not fit.
    """
    steps = EmulatedSteps()
    with Emulation() as emulation, _training(learner, generators, len(batches), precision) as training:
        for step, records in enumerate(batches):
            pinned = records.pin_memory()  # as the loader's thread does
            emulation.synchronizations.clear()
            taken = take_step(training, step, [pinned.to(emulated_device(), non_blocking=True)])
            steps.synchronizations.append(list(emulation.synchronizations))
            steps.losses.append(float("nan") if taken is None else float(taken[1]))
    return steps


class _Accelerator(CPUAccelerator):
    """Fabric's accelerator of the CPU, which has the emulated device."""

    def setup_device(self, device: torch.device) -> None:
        """Do nothing: the device needs no set-up."""


@contextmanager
def _training(
    learner: Learner, generators: Mapping[str, ViewGenerator], steps: int, precision: str
) -> Iterator[Training]:
    """Yield a training of a learner that has no run folder, no loader and no evaluation."""
    part = {"name": "emulated"}
    recipe = Recipe.model_validate(
        {
            "data": {"batch": 1},
            "modalities": {name: {"views": part, "encoder": part} for name in generators},
            "objective": part,
            "train": {"steps": steps, "precision": precision},
        }
    )
    made: Any = None
    plan = Plan(recipe, {}, dict(generators), {}, made, {}, None)
    strategy = SingleDeviceStrategy(emulated_device(), precision=precision_plugin(recipe.train, DEVICE_TYPE))
    fabric = Fabric(accelerator=_Accelerator(), strategy=strategy)
    module = fabric.setup_module(learner)
    optimizer: Any = fabric.setup_optimizers(build_optimizer(learner, recipe.optimizer))
    with TemporaryDirectory() as folder:
        guard = Guard(fabric, learner, optimizer.optimizer, Path(folder), steps, 0)
        yield Training(plan, made, fabric, learner, module, optimizer, None, made, made, made, made, guard, steps)
