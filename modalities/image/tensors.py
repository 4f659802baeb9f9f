"""Tensors of images, from a loop of one's own, as pixels of a batch: checked, and brought to size on their device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.errors import DataError
from sensorium.modalities.image.resize import Fit, center_crop, inner_size

TOLERANCE = 0.1
"""How far floats may lie outside of 0 to 1, as interpolation overshoots; standardized images lie farther."""


def check_axes(x: Tensor, channels: int) -> None:
    """Check that a tensor is images (B, C, H, W), or may be one image that is decoded.

    Raises:
        DataError: one sentence with the shape that is expected, and what to do.
    """
    shape = tuple(x.shape)
    if x.ndim == 4 and shape[1] == channels and 0 not in shape[2:]:
        return
    if x.ndim < 3 or (x.ndim == 3 and {channels, *((1, 3, 4) if channels in (1, 3) else ())} & {shape[0], shape[-1]}):
        return
    advice = f"set the modality's channels to {shape[1]}, or convert the tensor"
    if x.ndim == 4 and shape[3] == channels:
        advice = "its channels are last, so hand in x.permute(0, 3, 1, 2)"
    elif x.ndim == 3:
        advice = "if it is a batch of grayscale images, its channel axis is missing: hand in x.unsqueeze(1)"
    elif x.ndim > 4:
        advice = "join its leading axes: hand in x.flatten(0, -4)"
    elif 0 in shape[2:]:
        advice = "it has no pixels, so leave it out"
    raise DataError(
        f"A tensor of images of {channels} channels is (B, {channels}, H, W), or ({channels}, H, W) of one image, "
        f"not {shape}: {advice}."
    )


def checked_pixels(x: Tensor, value_range: tuple[float, float] | None) -> Tensor:
    """Return pixels as uint8, or as float32 in [0, 1], without a gradient.

    Args:
        x: (B, C, H, W), uint8, float in [0, 1], or any number type with a range. Floats on the CPU are checked; on
            another device they are not, as reading their values would wait for it.
        value_range: the values that become 0 and 1, those outside clipped; 8-bit images are left alone unless it ends
            at 255 or below. None is that of the type.

    Raises:
        DataError: when the type, or the values, are plainly of another range.
    """
    x = x.detach()
    if value_range is not None and not (x.dtype == torch.uint8 and value_range[1] > 255):
        low, high = value_range
        wide = x.double() if x.dtype in (torch.int32, torch.int64, torch.float64) else x.float()
        return ((wide - low) / (high - low)).clamp(0, 1).float()
    if x.dtype == torch.uint8:
        return x
    if not x.is_floating_point():
        raise DataError(
            f"A tensor of images is uint8, or float in 0 to 1, not {str(x.dtype).removeprefix('torch.')}: convert "
            "bytes with x.to(torch.uint8), or set the image modality's range to the lowest and highest value of the "
            "whole source."
        )
    if x.device.type == "cpu" and x.numel():
        least, most = (float(bound) for bound in x.aminmax())
        if not (least >= -TOLERANCE and most <= 1 + TOLERANCE):  # nan fails too
            raise DataError(
                f"Floats of images lie in 0 to 1, but this tensor ranges from {least:.4g} to {most:.4g}: divide values "
                "of bytes by 255, undo a standardization (x * std + mean) and standardize the views instead, or set "
                "the image modality's range to the lowest and highest value of the whole source."
            )
    return x.float()


def fit_batch(x: Tensor, size: tuple[int, int], fit: Fit, border_C: Tensor) -> Tensor:
    """Return pixels, uint8 or float32 (B, C, H, W), brought to `size` as `fit_to` brings one image.

    Args:
        x: the pixels, on any device.
        size: (height, width) of the result.
        fit: how an image of another aspect ratio is brought to it.
        border_C: uint8 (C,), the color of the borders.
    """
    if x.shape[2:] == size:
        return x
    if fit == "crop":
        top, left, height, width = center_crop(tuple(x.shape[2:]), size)
        return _resized(x[..., top : top + height, left : left + width], *size)
    if fit == "stretch":
        return _resized(x, *size)
    height, width = inner_size(tuple(x.shape[2:]), size)
    border = border_C.to(x.device, x.dtype) / (255 if x.is_floating_point() else 1)
    padded = border.to(x.dtype)[:, None, None].expand(len(x), -1, *size).clone()
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    padded[..., top : top + height, left : left + width] = _resized(x, height, width)
    return padded


def downscale_batch(x: Tensor, shorter: int) -> Tensor:
    """Return pixels (B, C, H, W) with their shorter side reduced to `shorter`; smaller images are not changed."""
    height, width = x.shape[2:]
    scale = min(shorter / min(height, width), 1.0)
    return _resized(x, max(round(height * scale), 1), max(round(width * scale), 1))


def _resized(x: Tensor, height: int, width: int) -> Tensor:
    """Return pixels of another size: bilinear, antialiased when downscaling, as `resize` of one image."""
    if x.shape[2:] == (height, width) or not len(x):
        return x if len(x) else x.new_empty((0, x.shape[1], height, width))
    # torch has no uint8 kernel outside of the CPU, and that of the CPU is wrong for a single column.
    is_exact = x.is_floating_point() or (x.device.type == "cpu" and width > 1)
    scaled = F.interpolate(x.contiguous() if is_exact else x.float(), (height, width), mode="bilinear", antialias=True)
    return scaled if is_exact else scaled.round().to(x.dtype)
