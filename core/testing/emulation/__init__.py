"""Emulation of a CUDA device on a CPU: its autocast rules, its errors, and what makes the host wait for it.

with Emulation() as emulation, torch.autocast("emulated", dtype=torch.bfloat16):
    loss = network.to(emulated_device())(batch.to(emulated_device()))
print(table(emulation.synchronizations))
"""

from sensorium.testing.emulation.device import emulated_device
from sensorium.testing.emulation.step import EmulatedSteps, emulate_steps
from sensorium.testing.emulation.synchronizations import Synchronization, innermost_line, remedies, table
from sensorium.testing.emulation.tensor import Emulation

__all__ = [
    "EmulatedSteps",
    "Emulation",
    "Synchronization",
    "emulate_steps",
    "emulated_device",
    "innermost_line",
    "remedies",
    "table",
]
