"""From the host to the device without waiting: small values packed in one copy, constants copied once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, Concatenate, ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")
ALIGNMENT = 16
"""Bytes at whose multiples a packed value starts: those of the widest dtype, complex128."""


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
    packed = torch.empty(starts[-1], dtype=torch.uint8, pin_memory=torch.cuda.is_available())
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
        return constants[key]

    return on_device
