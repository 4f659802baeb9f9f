"""Which operations make the host wait for the device, as CUDA does; counted with the lines that asked for them.

A step runs ahead of the device as long as the host only enqueues work. It waits where it reads a value of the device
(`item`, `if`, a shape that depends on data), and where it copies between host and device in a way that blocks.
"""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
INDEXED = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default)
CHECKED = (aten._linalg_check_errors.default, aten._linalg_eigh.default, aten._linalg_svd.default)
"""Decompositions read a status of the device to raise an error of their own."""
DATA_DEPENDENT = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}
OUTSIDE = (str(Path(torch.__file__).parent), str(Path(__file__).parent), "<")
"""Frames of these files are not what asked for a synchronization."""
REMEDIES = {
    "indexing with a boolean mask": "torch.where or masked_fill, or sums weighted by the mask; its backward waits too",
    "a value is read": "leave it a tensor, also for logs and running values, and compare with torch.where",
    "has a shape that depends on data": "work on all rows, with a mask; or index with positions that the host knows",
    "a blocking copy to the device": "make the tensor on the device (device=x.device), or copy it by to_device",
    "memory that is not page-locked": "make the tensor on the device (device=x.device), or copy it by to_device",
    "indices of the host": "copy the indices by to_device, or make them on the device",
}
"""What makes the host wait -> what to write instead."""


@dataclass(frozen=True)
class Synchronization:
    """One wait of the host for the device.

    Args:
        why: what makes the host wait.
        where: the innermost lines outside of torch that asked for it, "file:line function", innermost first.
    """

    why: str
    where: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.why} at {' < '.join(self.where)}"


def table(found: list[Synchronization]) -> str:
    """Return the synchronizations as lines, the most frequent first, each with its count."""
    return "\n".join(f"{count:4} × {each}" for each, count in Counter(found).most_common())


def remedies(found: list[Synchronization]) -> str:
    """Return what avoids the synchronizations, a line for each kind of them that has a remedy."""
    return "\n".join(f"{why}: {todo}" for why, todo in REMEDIES.items() if any(why in each.why for each in found))


def lines(depth: int = 3) -> tuple[str, ...]:
    """Return the innermost lines of the call stack that are outside of torch and of the emulation."""
    return tuple(line for line, _ in zip(_lines(), range(depth), strict=False))


def _lines() -> Iterator[str]:
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(OUTSIDE):
            yield f"{_short(name)}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]


def innermost_line(error: Exception) -> str | None:
    """Return where an error was raised, as in `Synchronization.where`: by the innermost line that is not of torch."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(OUTSIDE)]
    return f"{_short(frames[-1].filename)}:{frames[-1].lineno} {frames[-1].name}" if frames else None


def _short(name: str) -> str:
    return "/".join(Path(name).parts[-3:])


def reads_the_device(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], is_emulated: Any) -> str | None:
    """Return why an operation on tensors of the device makes the host wait for their values, or None."""
    if func is aten._local_scalar_dense.default:
        return "a value is read (item, float, bool, int)"
    if func in CHECKED:
        return f"{func.overloadpacket.__name__} reads whether it succeeded"
    if func in INDEXED:
        return _index(func, args, is_emulated)
    if func is aten.repeat_interleave.Tensor and kwargs.get("output_size") is not None:
        return None
    if DATA_DEPENDENT & set(func.tags):
        return f"{func.overloadpacket.__name__} has a shape that depends on data"
    return None


def _index(func: Any, args: tuple[Any, ...], is_emulated: Any) -> str | None:
    indices = [index for index in args[1] if isinstance(index, Tensor)]
    masks = [index for index in indices if index.dtype in (torch.bool, torch.uint8)]
    if any(not is_emulated(index) for index in indices):
        return "indices of the host are copied to the device"
    fills = func is not aten.index.Tensor and args[2].numel() == 1 and not is_emulated(args[2])
    if masks and not (fills and len(masks) == len(indices)):
        return "indexing with a boolean mask"
    return None
