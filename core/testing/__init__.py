"""The conformance kit: contract tests for modalities, encoders, view generators, objectives, sources and evaluators.

A plugin's own tests run it in three lines:

    @pytest.mark.parametrize("check", checks_of("my-plugin"), ids=str)
    def test_conformance(check):
        check()

and `sensorium plugin check my-plugin` prints it as a table.

What a plugin does on a CUDA device is tried on an emulated one, `sensorium.testing.emulation`: within `Emulation()`,
tensors on `emulated_device()` follow CUDA's rules, and what makes the host wait for the device is noted.
"""

from sensorium.testing.checked_part import CheckedPart, Failure
from sensorium.testing.emulation import Emulation, emulate_steps, emulated_device
from sensorium.testing.kit import Check, CheckResult, check_plugin, checks_of, yield_checks

__all__ = [
    "Check",
    "CheckResult",
    "CheckedPart",
    "Emulation",
    "Failure",
    "check_plugin",
    "checks_of",
    "emulate_steps",
    "emulated_device",
    "yield_checks",
]
