"""Changes of some rows of a batch."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def change_(x_BCHW: Tensor, rows: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Replace pictures, in place, by what `change` makes of them; nothing is gathered when all are to change.

    Args:
        x_BCHW: the pixels.
        rows: int64, which pictures, on the CPU: their number is known without waiting for a device.
        change: gets the pixels of those pictures and returns new ones.

    Returns:
        The pixels.
    """
    if len(rows) == len(x_BCHW):
        return x_BCHW.copy_(change(x_BCHW))
    if len(rows):
        at = rows.to(x_BCHW.device, non_blocking=True)
        x_BCHW.index_copy_(0, at, change(x_BCHW.index_select(0, at)))
    return x_BCHW
