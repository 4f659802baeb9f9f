"""One optimizer step as the training loop takes it, on the emulated device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from lightning_fabric import Fabric
from lightning_fabric.accelerators.cpu import CPUAccelerator
from lightning_fabric.strategies import SingleDeviceStrategy

from sensorium.contracts import ViewGenerator
from sensorium.models.learner import Learner
from sensorium.recipe.schema import Train
from sensorium.testing.bare_training import bare_training
from sensorium.testing.emulation.device import DEVICE_TYPE, emulated_device
from sensorium.testing.emulation.synchronizations import Synchronization
from sensorium.testing.emulation.tensor import Emulation
from sensorium.training.loop import take_step
from sensorium.training.precision import precision_plugin
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
    with (
        Emulation() as emulation,
        bare_training(emulated_fabric(precision), learner, generators, len(batches)) as training,
    ):
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


def emulated_fabric(precision: str) -> Fabric:
    """Return Fabric for one process on the emulated device."""
    plugin = precision_plugin(Train.model_validate({"steps": 1, "precision": precision}), DEVICE_TYPE)
    return Fabric(accelerator=_Accelerator(), strategy=SingleDeviceStrategy(emulated_device(), precision=plugin))
