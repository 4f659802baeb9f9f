"""Brightness, contrast, saturation, hue, gray and solarization of a batch, each row by its own parameters.

Pixels are float (B, C, H, W) in [0, 1]. Saturation, hue and gray are ideas about red, green and blue: pictures with
another number of channels pass them unchanged. The formulas, and the clamp to [0, 1] after each, are torchvision's.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from sensorium.modalities.image.views.in_place import change_
from sensorium.modalities.image.views.random_draws import chosen, permutations, uniform

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
LUMA = (0.2989, 0.587, 0.114)
NEUTRAL = torch.tensor([1.0, 1.0, 1.0, 0.0])
"""Factors that change nothing."""
NEVER = 4
"""The place of pictures that are left as they are; it sorts last."""


@dataclass(frozen=True)
class Jitter:
    """Drawn parameters of a color jitter, on the CPU.

    Brightness, contrast and saturation are each a linear map of the colors of a pixel, contrast with a constant, the
    picture's mean light: three blends, in the order in which they were drawn, and the hue before one of them or last.

    Args:
        maps: float (B, 3, C, C), the map of each blend.
        means: float (B, 3), how much of the picture's mean light a blend adds.
        turns: float (B,), by what share of a circle the hue is moved.
        place: int64 (B,), before which blend the hue has its turn, 3 after the last; `NEVER` where nothing is changed.
    """

    maps: Tensor
    means: Tensor
    turns: Tensor
    place: Tensor

    def __getitem__(self, rows: slice | Tensor) -> Jitter:
        return Jitter(self.maps[rows], self.means[rows], self.turns[rows], self.place[rows])


def compose(order_B4: Tensor, factors_B4: Tensor, channels: int = 3) -> Jitter:
    """Return the jitter that applies brightness, contrast, saturation and hue in the given order.

    Args:
        order_B4: int64, a permutation of the four a row.
        factors_B4: float, by those names: three factors about 1, and a turn of the hue in [-.5, .5].
        channels: of the pictures; without red, green and blue, saturation and hue do nothing.
    """
    place_B = (order_B4 == HUE).int().argmax(dim=1)
    order_B3 = order_B4[order_B4 != HUE].view(-1, 3)
    factors_B3 = factors_B4.gather(1, order_B3)
    is_saturation = order_B3 == SATURATION
    turns_B = factors_B4[:, HUE]
    if channels != 3:
        factors_B3, turns_B = torch.where(is_saturation, 1.0, factors_B3), torch.zeros_like(turns_B)
    light_B3 = torch.where(is_saturation, 1 - factors_B3, 0.0)
    means_B3 = torch.where(order_B3 == CONTRAST, 1 - factors_B3, 0.0)
    maps = factors_B3[..., None, None] * torch.eye(channels) + light_B3[..., None, None] * light_weights(channels)
    return Jitter(maps, means_B3, turns_B, place_B)


def draw_jitter(
    n: int, ranges: tuple[float, float, float, float], p: float, channels: int, rng: torch.Generator
) -> Jitter:
    """Draw the parameters of n pictures by the law of torchvision's `ColorJitter`, applied with probability p.

    Args:
        n: number of pictures.
        ranges: how far brightness, contrast, saturation and hue go: factors uniform over [max(0, 1 - r), 1 + r], the
            hue over [-r, r].
        p: probability that a picture is changed at all.
        channels: of the pictures.
        rng: a CPU generator.
    """
    order = permutations(n, 4, rng)
    columns = [uniform(n, max(0.0, 1 - r), 1 + r, rng) for r in ranges[:3]]
    factors = torch.stack([*columns, uniform(n, -ranges[HUE], ranges[HUE], rng)], dim=1).float()
    changed = chosen(n, p, rng)
    drawn = compose(order, torch.where(changed[:, None], factors, NEUTRAL), channels)
    return dataclasses.replace(drawn, place=torch.where(changed, drawn.place, NEVER))


def jitter_(x_BCHW: Tensor, jitter: Jitter) -> Tensor:
    """Change colors; the pixels given are used up. Returns the new ones.

    Rows of any order are welcome. Least is done where those that have their hue turned at the same place stand side
    by side, and those that nothing happens to come last.
    """
    places, counts = jitter.place.unique_consecutive(return_counts=True)
    ends = counts.cumsum(0).tolist()
    runs = [(place, slice(a, b)) for place, a, b in zip(places.tolist(), [0, *ends], ends, strict=False)]
    last = max((rows.stop for place, rows in runs if place != NEVER), default=0)
    maps, means = (t[:last].to(x_BCHW, non_blocking=True) for t in (jitter.maps, jitter.means))
    turns = jitter.turns.to(x_BCHW, non_blocking=True) if jitter.turns.any() else None
    for place in range(4):
        for at, rows in runs:
            if at == place and turns is not None:
                shift_hue_(x_BCHW[rows], turns[rows])
        if place < 3 and last:
            blended = blend(x_BCHW[:last], maps[:, place], means[:, place])
            x_BCHW = blended if last == len(x_BCHW) else torch.cat([blended, x_BCHW[last:]])
    return x_BCHW


def blend(x_BCHW: Tensor, maps_BCC: Tensor, means_B: Tensor) -> Tensor:
    """Return the pixels after a linear map of their colors and a share of the picture's mean light, within [0, 1]."""
    weights_C = light_weights(x_BCHW.shape[1]).to(x_BCHW)
    added_B = x_BCHW.mean(dim=(2, 3)) @ weights_C * means_B
    return torch.baddbmm(added_B[:, None, None], maps_BCC, x_BCHW.flatten(2)).clamp_(0, 1).view_as(x_BCHW)


def light_weights(channels: int) -> Tensor:
    """Return by how much each channel counts in the light of a pixel, (C,): red, green and blue, else all alike."""
    return torch.tensor(LUMA) if channels == 3 else torch.full((channels,), 1 / channels)


def luminance(x_BCHW: Tensor) -> Tensor:
    """Return the light of each pixel, (B, 1, H, W): weighted for red, green and blue, else the mean of the channels."""
    if x_BCHW.shape[1] != 3:
        return x_BCHW.mean(dim=1, keepdim=True)
    red, green, blue = x_BCHW.split(1, dim=1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def shift_hue_(x_B3HW: Tensor, turns_B: Tensor) -> Tensor:
    """Turn the hue, in HSV and in place, by a share of the full circle. Returns the pixels.

    The six cases of the hue are two, mirrored: counted in sixths of a circle from red, it is 1 + (g + b - r - low) /
    span where green exceeds blue, and the negative of that where blue exceeds green.
    """
    red, green, blue = x_B3HW.split(1, dim=1)
    low, span = torch.minimum(red, green), torch.maximum(red, green)
    low, span = torch.minimum(low, blue, out=low), torch.maximum(span, blue, out=span)
    span.sub_(low)
    hue = (green + blue).sub_(red).sub_(low).div_(span + 1e-12).add_(1)  # of a gray pixel any will do
    hue.copysign_(green - blue)
    # A color is high within a sixth of its own hue, low beyond two sixths, even between. From -3 to 3 as the hue is,
    # so is the way from each color to it, and their sum lies less than a circle from 0.
    own = torch.tensor([0.0, 2.0, 4.0], device=x_B3HW.device, dtype=x_B3HW.dtype)
    way = (6 * turns_B.to(own)[:, None] - own + 3).remainder_(6).sub_(3)[:, :, None, None]
    distance = torch.add(hue, way, out=x_B3HW).abs_().sub_(3).abs_()  # from the opposite hue
    return distance.sub_(1).clamp_(0, 1).mul_(span).add_(low)


def gray_(x_BCHW: Tensor, rows: Tensor) -> Tensor:
    """Take the color out of the pictures at `rows` (int64, on the CPU), in place. Returns the pixels."""
    if x_BCHW.shape[1] != 3:
        return x_BCHW
    return change_(x_BCHW, rows, lambda part: luminance(part).expand_as(part))


def solarize_(x_BCHW: Tensor, rows: Tensor, threshold: float = 0.5) -> Tensor:
    """Invert the values from `threshold` up of the pictures at `rows` (int64, on the CPU), in place. Returns them."""

    def invert(part: Tensor) -> Tensor:  # crops and blurs may pass 1 by a rounding error
        return torch.where(part >= threshold, (1 - part).clamp_(min=0), part)

    return change_(x_BCHW, rows, invert)
