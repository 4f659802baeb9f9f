"""Updates of some images of a batch: the one place that says which images an operation computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def computes_all_rows(x: Tensor) -> bool:
    """Return whether operations compute all images and select, rather than only those that have the operation.

    On a CPU the images that have an operation are known without waiting, and skipping the others saves time. On an
    accelerator, and within `torch.compile`, every shape is fixed: choosing images would make the host wait, or compile
    again for each number of them.
    """
    return x.device.type != "cpu" or torch.compiler.is_compiling()


def update_rows(x_BCHW: Tensor, chosen_B: Tensor, transform: Callable[[Tensor, Tensor | slice], Tensor]) -> Tensor:
    """Return the pixels with the chosen images replaced by their transforms; those passed in may be overwritten.

    Args:
        x_BCHW: the pixels.
        chosen_B: bool, on the pixels' device.
        transform: takes the pixels of some images, which it may overwrite, and their rows, by which it picks its
            parameters; returns new pixels, of the same shape.
    """
    everything = slice(None)
    if computes_all_rows(x_BCHW):
        return torch.where(chosen_B[:, None, None, None], transform(x_BCHW.clone(), everything), x_BCHW)
    chosen = np.flatnonzero(chosen_B.numpy())
    if len(chosen) == len(x_BCHW):
        return transform(x_BCHW, everything)
    if len(chosen):
        first, end = int(chosen[0]), int(chosen[-1]) + 1
        rows = slice(first, end) if end - first == len(chosen) else torch.from_numpy(chosen)  # a slice copies nothing
        part = x_BCHW[rows]
        changed = transform(part, rows)
        if changed is not part or isinstance(rows, Tensor):
            x_BCHW[rows] = changed
    return x_BCHW
