"""In-place updates of some images of a batch."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def update_rows_(x_BCHW: Tensor, rows: Tensor, transform: Callable[[Tensor], Tensor]) -> Tensor:
    """Replace the images at `rows`, in place, by their transforms; nothing is gathered when all are replaced.

    Args:
        x_BCHW: the pixels.
        rows: int64, indices of images, on the CPU: their number is known without waiting for a device.
        transform: takes the pixels of those images and returns new ones.

    Returns:
        The pixels.
    """
    if len(rows) == len(x_BCHW):
        return x_BCHW.copy_(transform(x_BCHW))
    if len(rows):
        index = rows.to(x_BCHW.device, non_blocking=True)
        x_BCHW.index_copy_(0, index, transform(x_BCHW.index_select(0, index)))
    return x_BCHW
