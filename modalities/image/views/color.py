"""Color jitter, grayscale and solarization of a batch, each image with its own parameters.

Pixels are float (B, C, H, W) in [0, 1]. Saturation, hue and grayscale are defined for red, green and blue: they leave
images with another number of channels unchanged. The formulas, and the clamp to [0, 1] after each, are torchvision's.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from sensorium.modalities.image.views.random_draws import bernoulli, permutations, uniform
from sensorium.modalities.image.views.row_updates import update_rows_

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
LUMA = (0.2989, 0.587, 0.114)
IDENTITY = torch.tensor([1.0, 1.0, 1.0, 0.0])
"""Factors that change nothing."""
UNCHANGED = 4
"""The `hue_step` of images that are not jittered; it sorts last."""


@dataclass(frozen=True)
class ColorJitter:
    """The drawn parameters of a color jitter, on the CPU.

    Brightness, contrast and saturation are each a linear map of the colors of a pixel, contrast with a constant, the
    image's mean luminance: three blends in the drawn order, and the hue shift before one of them or last.

    Args:
        maps: float (B, 3, C, C), the map of each blend.
        means: float (B, 3), the weight of the image's mean luminance in each blend.
        hues: float (B,), the hue shift, as a fraction of the hue circle.
        hue_step: int64 (B,), the blend before which the hue is shifted, 3 after the last; `UNCHANGED` for no jitter.
    """

    maps: Tensor
    means: Tensor
    hues: Tensor
    hue_step: Tensor

    def __getitem__(self, rows: slice | Tensor) -> ColorJitter:
        return ColorJitter(self.maps[rows], self.means[rows], self.hues[rows], self.hue_step[rows])


def compose(order_B4: Tensor, factors_B4: Tensor, channels: int = 3) -> ColorJitter:
    """Return the jitter that applies brightness, contrast, saturation and hue in the given order.

    Args:
        order_B4: int64, a permutation of the four operations for each image.
        factors_B4: float, a factor about 1 for each of the first three, and a hue shift in [-.5, .5].
        channels: of the images; without red, green and blue, saturation and hue do nothing.
    """
    hue_step_B = (order_B4 == HUE).int().argmax(dim=1)
    order_B3 = order_B4[order_B4 != HUE].view(-1, 3)
    factors_B3 = factors_B4.gather(1, order_B3)
    is_saturation = order_B3 == SATURATION
    hues_B = factors_B4[:, HUE]
    if channels != 3:
        factors_B3, hues_B = torch.where(is_saturation, 1.0, factors_B3), torch.zeros_like(hues_B)
    gray_B3 = torch.where(is_saturation, 1 - factors_B3, 0.0)
    means_B3 = torch.where(order_B3 == CONTRAST, 1 - factors_B3, 0.0)
    maps = factors_B3[..., None, None] * torch.eye(channels) + gray_B3[..., None, None] * luma_weights(channels)
    return ColorJitter(maps, means_B3, hues_B, hue_step_B)


def draw_color_jitter(
    n: int, ranges: tuple[float, float, float, float], p: float, channels: int, rng: torch.Generator
) -> ColorJitter:
    """Draw the parameters of n images from the distribution of torchvision's `ColorJitter`, applied with probability p.

    Args:
        n: number of images.
        ranges: r of brightness, contrast, saturation and hue: factors are uniform in [max(0, 1 - r), 1 + r], the hue
            shift in [-r, r].
        p: probability that an image is jittered.
        channels: of the images.
        rng: a CPU generator.
    """
    order = permutations(n, 4, rng)
    columns = [uniform(n, max(0.0, 1 - r), 1 + r, rng) for r in ranges[:3]]
    factors = torch.stack([*columns, uniform(n, -ranges[HUE], ranges[HUE], rng)], dim=1).float()
    jittered = bernoulli(n, p, rng)
    drawn = compose(order, torch.where(jittered[:, None], factors, IDENTITY), channels)
    return dataclasses.replace(drawn, hue_step=torch.where(jittered, drawn.hue_step, UNCHANGED))


def jitter_colors_(x_BCHW: Tensor, jitter: ColorJitter) -> Tensor:
    """Apply a color jitter and return the new pixels; those passed in are overwritten.

    Rows may have any order. It is fastest when rows of the same `hue_step` are adjacent and `UNCHANGED` ones come last.
    """
    steps, counts = jitter.hue_step.unique_consecutive(return_counts=True)
    ends = counts.cumsum(0).tolist()
    runs = [(step, slice(a, b)) for step, a, b in zip(steps.tolist(), [0, *ends], ends, strict=False)]
    last = max((rows.stop for step, rows in runs if step != UNCHANGED), default=0)
    maps, means = (t[:last].to(x_BCHW, non_blocking=True) for t in (jitter.maps, jitter.means))
    hues = jitter.hues.to(x_BCHW, non_blocking=True) if jitter.hues.any() else None
    for step in range(4):
        for hue_step, rows in runs:
            if hue_step == step and hues is not None:
                shift_hue_(x_BCHW[rows], hues[rows])
        if step < 3 and last:
            blended = blend(x_BCHW[:last], maps[:, step], means[:, step])
            x_BCHW = blended if last == len(x_BCHW) else torch.cat([blended, x_BCHW[last:]])
    return x_BCHW


def blend(x_BCHW: Tensor, maps_BCC: Tensor, means_B: Tensor) -> Tensor:
    """Return the pixels after a linear map of their colors plus a multiple of the mean luminance, within [0, 1]."""
    weights_C = luma_weights(x_BCHW.shape[1]).to(x_BCHW)
    added_B = x_BCHW.mean(dim=(2, 3)) @ weights_C * means_B
    return torch.baddbmm(added_B[:, None, None], maps_BCC, x_BCHW.flatten(2)).clamp_(0, 1).view_as(x_BCHW)


def luma_weights(channels: int) -> Tensor:
    """Return each channel's weight in the luminance, (C,): those of red, green and blue, else equal weights."""
    return torch.tensor(LUMA) if channels == 3 else torch.full((channels,), 1 / channels)


def luminance(x_BCHW: Tensor) -> Tensor:
    """Return the luminance of each pixel, (B, 1, H, W): weighted for RGB, else the mean of the channels."""
    if x_BCHW.shape[1] != 3:
        return x_BCHW.mean(dim=1, keepdim=True)
    red, green, blue = x_BCHW.split(1, dim=1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def shift_hue_(x_B3HW: Tensor, hues_B: Tensor) -> Tensor:
    """Shift the hue, in HSV and in place, by a fraction of the hue circle. Returns the pixels.

    The six cases of the hue reduce to two mirrored ones: in sixths of the circle from red, the hue is
    1 + (g + b - r - low) / span where green exceeds blue, and the negative of that where blue exceeds green.
    """
    red, green, blue = x_B3HW.split(1, dim=1)
    low, span = torch.minimum(red, green), torch.maximum(red, green)
    low, span = torch.minimum(low, blue, out=low), torch.maximum(span, blue, out=span)
    span.sub_(low)
    hue = (green + blue).sub_(red).sub_(low).div_(span + 1e-12).add_(1)  # of a gray pixel any value works
    hue.copysign_(green - blue)
    # A primary is high within a sixth of the circle of its own hue, low beyond two sixths, linear between. The hue and
    # the offset from each primary lie in [-3, 3], so that their sum is less than a circle from 0.
    primaries = torch.tensor([0.0, 2.0, 4.0], device=x_B3HW.device, dtype=x_B3HW.dtype)
    offset = (6 * hues_B.to(primaries)[:, None] - primaries + 3).remainder_(6).sub_(3)[:, :, None, None]
    distance = torch.add(hue, offset, out=x_B3HW).abs_().sub_(3).abs_()  # from the opposite hue
    return distance.sub_(1).clamp_(0, 1).mul_(span).add_(low)


def grayscale_(x_BCHW: Tensor, rows: Tensor) -> Tensor:
    """Convert the images at `rows` (int64, on the CPU) to grayscale, in place. Returns the pixels."""
    if x_BCHW.shape[1] != 3:
        return x_BCHW
    return update_rows_(x_BCHW, rows, lambda part: luminance(part).expand_as(part))


def solarize_(x_BCHW: Tensor, rows: Tensor, threshold: float = 0.5) -> Tensor:
    """Invert values >= `threshold` of the images at `rows` (int64, on the CPU), in place. Returns the pixels."""

    def invert(part: Tensor) -> Tensor:  # crops and blurs may exceed 1 by a rounding error
        return torch.where(part >= threshold, (1 - part).clamp_(min=0), part)

    return update_rows_(x_BCHW, rows, invert)
