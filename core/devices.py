"""Devices: which one is used; from the host to it without waiting: values packed in one copy, constants copied once."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any, Concatenate, ParamSpec

import torch
from torch import Tensor

from sensorium.errors import RecipeError

log = logging.getLogger("sensorium")
P = ParamSpec("P")
ALIGNMENT = 16
"""Bytes at whose multiples a packed value starts: those of the widest dtype, complex128."""


def find_device(name: str, option: str) -> torch.device:
    """Return the device of a name: "auto" is CUDA where there is one, else the CPU.

    Args:
        name: "auto", "cpu", "cuda", "cuda:N" or "mps".
        option: where the name was given, for the error.

    Raises:
        RecipeError: when the machine has no such device.
    """
    is_there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        if is_there["mps"] and not is_there["cuda"]:
            log.warning(
                "The run uses the CPU: the accelerator mps has no fp64, in which some views and losses compute; "
                "%s=mps tries it all the same.",
                option,
            )
        return torch.device("cuda" if is_there["cuda"] else "cpu")
    kind, _, index = name.partition(":")
    if not is_there.get(kind) or (index and not (index.isdecimal() and int(index) < torch.accelerator.device_count())):
        known = " or ".join(kind for kind, there in is_there.items() if there)
        raise RecipeError(f"{option} is '{name}', but this machine has no such device: use {known}, or auto.")
    return torch.device(name)


def precision_of(asked: str, accelerator: str) -> str:
    """Return the precision of a recipe on a device: "auto" is bf16 mixed precision on CUDA, fp32 elsewhere."""
    if asked != "auto":
        return asked
    return "bf16-mixed" if accelerator == "cuda" and torch.cuda.is_bf16_supported() else "32-true"


def gains_from_pinning(device: torch.device) -> bool:
    """Return whether the host need not wait for a copy to a device from page-locked memory."""
    return device.type not in ("cpu", "mps", "meta")


def evaluation_autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the autocast in which encoders are measured: on CUDA that of their training, elsewhere none (fp32).

    Args:
        precision: `train.precision` of the recipe.
        device: where they are.
    """
    halves = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    dtype = halves.get(precision_of(precision, device.type)) if device.type == "cuda" else None
    return torch.autocast(device.type, dtype or torch.float32, enabled=dtype is not None)


def to_device(values: Iterable[Any], device: torch.device | str) -> list[Tensor]:
    """Return host values as tensors on a device, all in one copy that the host does not wait for.

    They are packed into page-locked memory, whatever their dtypes; a blocking copy of each would cost a
    synchronization of its own. On the CPU nothing is copied.

    Args:
        values: NumPy arrays, tensors on the CPU, numbers, or lists of numbers, which become tensors as
            `torch.as_tensor` makes them.
        device: where they are needed.
    """
    device, hosts = torch.device(device), [torch.as_tensor(value) for value in values]
    if device.type == "cpu" or not hosts:
        return hosts
    bytes_of = [host.contiguous().reshape(-1).view(torch.uint8) for host in hosts]
    starts = [0]
    for part in bytes_of:
        starts.append(starts[-1] + -(-len(part) // ALIGNMENT) * ALIGNMENT)
    packed = torch.empty(starts[-1], dtype=torch.uint8, pin_memory=gains_from_pinning(device))
    for part, start in zip(bytes_of, starts, strict=False):
        packed[start : start + len(part)] = part
    there = packed.to(device, non_blocking=True)
    return [
        there[start : start + len(part)].view(host.dtype).view(host.shape)
        for host, part, start in zip(hosts, bytes_of, starts, strict=False)
    ]


def device_constant(make: Callable[P, Tensor]) -> Callable[Concatenate[torch.device, P], Tensor]:
    """Make a function of a constant (a kernel, a matrix, a table) that copies it to each device once.

    Decorates a function of hashable arguments that returns a tensor on the CPU; the decorated one takes the device
    before them. The tensor is shared: whoever changes it in place changes it for all. `torch.compile` takes it as a
    constant.

    Args:
        make: a function of hashable arguments that returns a tensor on the CPU.
    """
    constants: dict[tuple[Any, ...], Tensor] = {}

    @torch.compiler.assume_constant_result
    @functools.wraps(make)
    def on_device(device: torch.device, /, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        key = (device, args, tuple(sorted(kwargs.items())))
        if key not in constants:
            # One made in inference mode could not be used in training afterwards.
            with torch.inference_mode(False), torch.no_grad():
                constants[key] = make(*args, **kwargs).to(device)
            torch._dynamo.mark_static(constants[key])  # so is its shape
        return constants[key]

    return on_device
