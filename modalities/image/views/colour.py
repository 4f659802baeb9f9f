"""Brightness, contrast, saturation, hue, grey and solarisation of a batch, each row by its own parameters.

Pixels are float (B, C, H, W) in [0, 1]. Saturation, hue and grey are ideas about red, green and blue: pictures with
another number of channels pass them unchanged. The formulas, and the clamp to [0, 1] after each, are torchvision's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sensorium.modalities.image.views.chance import chosen, permutations, uniform

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
    used = (jitter.weights != torch.tensor([1.0, 0.0, 0.0])).any(dim=0).tolist()  # on the CPU: costs no waiting
    weights = jitter.weights.to(x_BCHW.device, non_blocking=True)[..., None, None, None]
    for turn in range(4):
        own, of_light, of_mean = weights[:, turn].unbind(1)
        if used[turn][1] or used[turn][2]:
            light = luminance(x_BCHW)
            mean = light.mean(dim=(1, 2, 3), keepdim=True).mul_(of_mean)
            x_BCHW.mul_(own).add_(light.mul_(of_light).add_(mean)).clamp_(0, 1)
        elif used[turn][0]:
            x_BCHW.mul_(own).clamp_(0, 1)
        if len(rows := jitter.turns[:, turn].nonzero()[:, 0]):
            at = rows.to(x_BCHW.device, non_blocking=True)
            turns = jitter.turns[rows, turn].to(x_BCHW.device, non_blocking=True)
            x_BCHW.index_copy_(0, at, shift_hue(x_BCHW.index_select(0, at), turns))
    return x_BCHW


def luminance(x_BCHW: Tensor) -> Tensor:
    """Return the light of each pixel, (B, 1, H, W): weighted for red, green and blue, else the mean of the channels."""
    if x_BCHW.shape[1] != 3:
        return x_BCHW.mean(dim=1, keepdim=True)
    red, green, blue = x_BCHW.split(1, dim=1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def shift_hue(x_B3HW: Tensor, turns_B: Tensor) -> Tensor:
    """Turn the hue, in HSV, by a share of the full circle.

    Conditions are written as arithmetic: comparing and choosing costs a CPU ten times as much as multiplying.
    """
    red, green, blue = x_B3HW.split(1, dim=1)
    high = torch.maximum(torch.maximum(red, green), blue)
    low = torch.minimum(torch.minimum(red, green), blue)
    span = high - low
    is_red = (red - high).sign_().add_(1)  # 1 where red is the highest, else 0
    is_green = (green - high).sign_().add_(1).mul_(1 - is_red)
    is_blue = 1 - is_red - is_green
    # The hue in sixths of a circle is this number over the span; a grey pixel has span 0, and any hue will do.
    sixths = is_red.mul_(green - blue)
    sixths.addcmul_(is_green, (blue - red).add_(span, alpha=2))
    sixths.addcmul_(is_blue, (red - green).add_(span, alpha=4))
    hue = sixths.div_((6 * span).clamp_(min=1e-12)).add_(turns_B[:, None, None, None] + 1)
    own = torch.tensor([0, 2 / 3, 1 / 3], device=x_B3HW.device, dtype=x_B3HW.dtype)[:, None, None]
    # Red is high within a sixth of hue 0, low beyond two sixths, even between; green and blue, turned, likewise.
    # Half a circle away from its own hue is where this distance is 0.
    distance = (hue + own).frac_().sub_(0.5).abs_().clamp_(1 / 6, 1 / 3)
    return torch.addcmul(low.sub_(span), distance, span.mul_(6))


def grey_(x_BCHW: Tensor, rows: Tensor) -> Tensor:
    """Take the colour out of the pictures at `rows` (int64), in place. Returns the pixels."""
    if x_BCHW.shape[1] == 3 and len(rows):
        light = luminance(x_BCHW.index_select(0, rows))
        x_BCHW.index_copy_(0, rows, light.expand(-1, 3, -1, -1))
    return x_BCHW


def solarise_(x_BCHW: Tensor, rows: Tensor, threshold: float = 0.5) -> Tensor:
    """Invert the values from `threshold` upwards of the pictures at `rows` (int64), in place. Returns the pixels."""
    if len(rows):
        part = x_BCHW.index_select(0, rows)
        x_BCHW.index_copy_(0, rows, torch.where(part >= threshold, 1 - part, part))
    return x_BCHW
