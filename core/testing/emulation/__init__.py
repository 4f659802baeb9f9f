"""Emulation of a CUDA device on a CPU."""

from sensorium.testing.emulation.device import emulated_device
from sensorium.testing.emulation.step import EmulatedSteps, emulate_steps
from sensorium.testing.emulation.synchronizations import Synchronization, table
from sensorium.testing.emulation.tensor import Emulation

__all__ = ["EmulatedSteps", "Emulation", "Synchronization", "emulate_steps", "emulated_device", "table"]
