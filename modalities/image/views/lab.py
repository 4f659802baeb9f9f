"""CIE L*a*b*, a perceptually uniform color space, and the bins of its (a*, b*) plane.

Letters: B images, H and W height and width, Q bins.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from sensorium import device_constant

WHITE = (0.95047, 1.0, 1.08883)
"""X, Y and Z of the white point of sRGB, D65."""
TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
"""From linear sRGB to XYZ (IEC 61966-2-1)."""
STEP = 10
"""Side of a bin of the (a*, b*) plane."""


@device_constant
def _constant(values: tuple, dtype: torch.dtype) -> Tensor:
    return torch.tensor(values, dtype=dtype)


def to_lab(x_B3HW: Tensor) -> Tensor:
    """Return L* (0 to 100), a* and b* of sRGB pixels in [0, 1]: float (B, 3, H, W)."""
    linear = torch.where(x_B3HW <= 0.04045, x_B3HW / 12.92, ((x_B3HW.clamp(min=0) + 0.055) / 1.055) ** 2.4)
    matrix_33 = _constant(linear.device, TO_XYZ, linear.dtype)
    white_311 = _constant(linear.device, WHITE, linear.dtype)[:, None, None]
    xyz_B3HW = torch.einsum("ij,bjhw->bihw", matrix_33, linear) / white_311
    f_B3HW = torch.where(xyz_B3HW > (6 / 29) ** 3, xyz_B3HW.clamp(min=1e-9) ** (1 / 3), xyz_B3HW * 841 / 108 + 4 / 29)
    x, y, z = f_B3HW.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def from_lab(lab_B3HW: Tensor) -> Tensor:
    """Return sRGB pixels of L*, a* and b*; colors outside sRGB are clipped to [0, 1]."""
    light, a, b = lab_B3HW.unbind(1)
    y = (light + 16) / 116
    f_B3HW = torch.stack([y + a / 500, y, y - b / 200], dim=1)
    white_311 = _constant(f_B3HW.device, WHITE, f_B3HW.dtype)[:, None, None]
    xyz_B3HW = torch.where(f_B3HW > 6 / 29, f_B3HW**3, (f_B3HW - 4 / 29) * 108 / 841) * white_311
    matrix_33 = torch.linalg.inv(_constant(f_B3HW.device, TO_XYZ, f_B3HW.dtype))
    linear = torch.einsum("ij,bjhw->bihw", matrix_33, xyz_B3HW).clamp(0, 1)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


@cache
def color_bins() -> Tensor:
    """Return the centers of the (a*, b*) bins, 10 units a side, that are in gamut of sRGB: float32 (Q, 2).

    A bin is in gamut when one of 64 x 64 x 64 evenly spaced colors falls into it; the paper's table has 313 bins.
    """
    side = torch.linspace(0, 1, 64, dtype=torch.float64)
    colors_3MMM = torch.stack(torch.meshgrid(side, side, side, indexing="ij"))
    ab_2N = to_lab(colors_3MMM.flatten(2)[None])[0, 1:].flatten(1)
    return torch.unique((ab_2N / STEP).round().T.long(), dim=0).float() * STEP


bin_table = device_constant(color_bins)


def nearest_bin(ab_B2HW: Tensor) -> Tensor:
    """Return the index of the bin with the nearest center: int64 (B, H, W)."""
    rows_N2 = ab_B2HW.movedim(1, -1).flatten(0, -2).float()
    bins_Q2 = bin_table(rows_N2.device)
    return torch.cdist(rows_N2, bins_Q2).argmin(1).view(ab_B2HW.shape[0], *ab_B2HW.shape[2:])
