"""The device "emulated": torch knows it as an accelerator, with the autocast rules of CUDA.

torch has one slot for a device that is made outside of it (`PrivateUse1`). It is taken here, once in a process.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from sensorium.testing.emulation import autocast_rules

DEVICE_TYPE = "emulated"


ENTERED: list[object] = []
"""The emulations that run: in none, torch finds no device, so that the rest of the process is as on a CPU."""


class _Module:
    """What torch looks up as `torch.emulated`: one device, which computes in half precision under autocast."""

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        """Return the dtypes that autocast may be given."""
        return [torch.bfloat16, torch.float16]

    @staticmethod
    def is_available() -> bool:
        """Return whether the device is there: within an emulation."""
        return bool(ENTERED)

    @staticmethod
    def device_count() -> int:
        """Return the number of devices."""
        return 1

    @staticmethod
    def current_device() -> int:
        """Return the index of the device in use."""
        return 0

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        """Do nothing: what is drawn without a generator comes from the global one of the CPU."""


class _Hooks(torch._C._acc.PrivateUse1Hooks):
    def is_available(self) -> bool:
        """Return that the device is there."""
        return True

    def is_built(self) -> bool:
        """Return that this torch knows the device."""
        return True

    def has_primary_context(self, index: int) -> bool:
        """Return that no stream of the device is in use."""
        return False


class _Guard(torch._C._acc.DeviceGuard):
    def type_(self) -> Any:
        """Return the kind of device."""
        return torch._C._autograd.DeviceType.PrivateUse1


@cache
def emulated_device() -> torch.device:
    """Return the emulated device; the first call makes it known to torch, for the rest of the process.

    Raises:
        RuntimeError: when another backend has taken the slot of torch for devices made outside of it.
    """
    torch.utils.rename_privateuse1_backend(DEVICE_TYPE)
    torch._register_device_module(DEVICE_TYPE, _Module())  # type: ignore[arg-type]
    torch._C._acc.register_python_privateuseone_hook(_Hooks())
    torch._C._acc.register_python_privateuseone_device_guard(_Guard())
    _KEPT.extend(autocast_rules.register_kernels(DEVICE_TYPE))
    return torch.device(DEVICE_TYPE, 0)


_KEPT: list[torch.library.Library] = []
"""Kernels are registered as long as their library lives."""
