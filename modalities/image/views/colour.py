"""Brightness, contrast, saturation, hue, grey and solarisation of a batch, each row by its own parameters.

Pixels are float (B, C, H, W) in [0, 1]. Saturation, hue and grey are ideas about red, green and blue: pictures with
another number of channels pass them unchanged. The formulas, and the clamp to [0, 1] after each, are torchvision's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sensorium.modalities.image.views.chance import chosen, permutations, uniform
from sensorium.modalities.image.views.rows import change_

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
LUMA = (0.2989, 0.587, 0.114)


@dataclass(frozen=True)
class Jitter:
    """Drawn parameters of a colour jitter, turn by turn, on the CPU.

    Brightness, contrast and saturation are each a blend of the picture with black, with its mean light or with its
    own light, so that one pass serves every row whichever of the three is its turn.

    Args:
        weights: float (B, 4, 3), what a turn takes of the picture itself, of its light and of its mean light.
        turns: float (B, 4), by what share of a circle a turn moves the hue; 0 in the turns of the others.
    """

    weights: Tensor
    turns: Tensor

    def __getitem__(self, rows: slice) -> Jitter:
        return Jitter(self.weights[rows], self.turns[rows])


def compose(order_B4: Tensor, factors_B4: Tensor, coloured: bool = True) -> Jitter:
    """Return the jitter that applies brightness, contrast, saturation and hue in the given order.

    Args:
        order_B4: int64, a permutation of the four a row.
        factors_B4: float, by those names: three factors about 1, and a turn of the hue in [-.5, .5].
        coloured: whether the pictures have red, green and blue; else saturation and hue do nothing.
    """
    by_turn = factors_B4.gather(1, order_B4)
    is_hue, is_saturation = order_B4 == HUE, order_B4 == SATURATION
    own = torch.where(is_hue if coloured else is_hue | is_saturation, 1.0, by_turn)
    light = torch.where(is_saturation, 1 - own, 0.0)
    mean = torch.where(order_B4 == CONTRAST, 1 - own, 0.0)
    turns = torch.where(is_hue, by_turn, 0.0) if coloured else torch.zeros_like(by_turn)
    return Jitter(torch.stack([own, light, mean], dim=2), turns)


def draw_jitter(
    n: int, ranges: tuple[float, float, float, float], p: float, coloured: bool, rng: torch.Generator
) -> Jitter:
    """Draw the parameters of n pictures by the law of torchvision's `ColorJitter`, applied with probability p.

    Args:
        n: number of pictures.
        ranges: how far brightness, contrast, saturation and hue go: factors uniform over [max(0, 1 - r), 1 + r], the
            hue over [-r, r].
        p: probability that a picture is changed at all.
        coloured: whether the pictures have red, green and blue.
        rng: a CPU generator.
    """
    order = permutations(n, 4, rng)
    columns = [uniform(n, max(0.0, 1 - r), 1 + r, rng) for r in ranges[:3]]
    factors = torch.stack([*columns, uniform(n, -ranges[HUE], ranges[HUE], rng)], dim=1).float()
    neutral = torch.tensor([1.0, 1.0, 1.0, 0.0])
    return compose(order, torch.where(chosen(n, p, rng)[:, None], factors, neutral), coloured)


def jitter_(x_BCHW: Tensor, jitter: Jitter) -> Tensor:
    """Change colours in place. Returns the pixels."""
    blends = (jitter.weights != torch.tensor([1.0, 0.0, 0.0])).any(dim=0).tolist()  # on the CPU: costs no waiting
    hues = jitter.turns.any(dim=0).tolist()
    weights = jitter.weights.to(x_BCHW.device, non_blocking=True)[..., None, None, None]
    for turn in range(4):
        changed, with_light, with_mean = blends[turn]
        if changed:
            own, of_light, of_mean = weights[:, turn].unbind(1)
        if with_light or with_mean:  # the mean light is that of the mean colour
            light = luminance(x_BCHW if with_light else x_BCHW.mean(dim=(2, 3), keepdim=True))
            mean = light.mean(dim=(2, 3), keepdim=True).mul_(of_mean)
            x_BCHW.mul_(own).add_(light.mul_(of_light).add_(mean)).clamp_(0, 1)
        elif changed:
            x_BCHW.mul_(own).clamp_(0, 1)
        if hues[turn]:
            rows = jitter.turns[:, turn].nonzero()[:, 0]
            change_(x_BCHW, rows, partial(shift_hue, turns_B=jitter.turns[rows, turn]))
    return x_BCHW


def luminance(x_BCHW: Tensor) -> Tensor:
    """Return the light of each pixel, (B, 1, H, W): weighted for red, green and blue, else the mean of the channels."""
    if x_BCHW.shape[1] != 3:
        return x_BCHW.mean(dim=1, keepdim=True)
    red, green, blue = x_BCHW.split(1, dim=1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def shift_hue(x_B3HW: Tensor, turns_B: Tensor) -> Tensor:
    """Turn the hue, in HSV, by a share of the full circle.

    The six cases of the hue are two, mirrored: counted in sixths of a circle from red, it is 1 + (g + b - r - low) /
    span where green exceeds blue, and the negative of that where blue exceeds green.
    """
    red, green, blue = x_B3HW.split(1, dim=1)
    high, low = torch.maximum(red, green), torch.minimum(red, green)
    low = torch.minimum(low, blue)
    span = torch.maximum(high, blue).sub_(low)
    hue = (green - low).add_(blue).sub_(red).div_(span.clamp(min=1e-12)).add_(1)  # of a grey pixel any will do
    hue.copysign_(green - blue)
    # A colour is high within a sixth of its own hue, low beyond two sixths, even between. From -3 to 3 as the hue is,
    # so is the way from each colour to it, and their sum lies less than a circle from 0.
    own = torch.tensor([0.0, 2.0, 4.0], device=x_B3HW.device, dtype=x_B3HW.dtype)
    way = (6 * turns_B.to(own)[:, None] - own + 3).remainder_(6).sub_(3)[:, :, None, None]
    distance = (hue + way).abs_().sub_(3).abs_()  # from the opposite hue
    return distance.sub_(1).clamp_(0, 1).mul_(span).add_(low)


def grey_(x_BCHW: Tensor, rows: Tensor) -> Tensor:
    """Take the colour out of the pictures at `rows` (int64, on the CPU), in place. Returns the pixels."""
    if x_BCHW.shape[1] != 3:
        return x_BCHW
    return change_(x_BCHW, rows, lambda part: luminance(part).expand_as(part))


def solarise_(x_BCHW: Tensor, rows: Tensor, threshold: float = 0.5) -> Tensor:
    """Invert the values from `threshold` up of the pictures at `rows` (int64, on the CPU), in place. Returns them."""

    def invert(part: Tensor) -> Tensor:  # crops and blurs may pass 1 by a rounding error
        return torch.where(part >= threshold, (1 - part).clamp_(min=0), part)

    return change_(x_BCHW, rows, invert)
