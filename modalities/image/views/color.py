"""Color jitter, grayscale and solarization of a batch, each image with its own parameters.

Pixels are float (B, C, H, W) in [0, 1]. Saturation, hue and grayscale are defined for red, green and blue: they leave
images with another number of channels unchanged. The formulas, and the clamp to [0, 1] after each, are torchvision's.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sensorium.modalities.image.views.random_draws import bernoulli, permutations, uniform
from sensorium.modalities.image.views.row_updates import computes_all_rows, update_rows

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
LUMA = (0.2989, 0.587, 0.114)
NEUTRAL = (1.0, 1.0, 1.0, 0.0)
"""Factors that change nothing."""
SLOTS = 6
"""Places of blends: three before the hue shift, three after it."""
NO_BLEND = np.array((1, 0, 0), dtype=np.float32)
"""The multiples of color, luminance and mean luminance that change nothing."""
EVERYTHING = (slice(None), [True] * 4)
"""All rows of a slot, and all terms of its blend."""


def compose(order_B4: Tensor, factors_B4: Tensor, channels: int = 3) -> tuple[Tensor, Tensor]:
    """Return the blends and the hue shift of brightness, contrast, saturation and hue in the given order.

    The first three are each a blend: a multiple of the color, of its luminance and of the image's mean luminance,
    summed. The drawn order decides which of them come before the hue shift and which after it, so an image fills three
    of six slots; in the others nothing is changed. So one sequence of operations fits all orders.

    Args:
        order_B4: int64, a permutation of the four operations for each image, on the CPU.
        factors_B4: float, a factor about 1 for each of the first three, and a hue shift in [-.5, .5], on the CPU.
        channels: of the images; without red, green and blue, saturation and hue do nothing.

    Returns:
        blends: float (B, 6, 3), the multiples of color, luminance and mean luminance in each slot.
        hues: float (B, 3), the hue shift as `shift_hue_` takes it.
    """
    if channels != 3:
        factors_B4 = torch.where(torch.tensor([False, False, True, True]), torch.tensor(NEUTRAL), factors_B4)
    hue_place_B1 = (order_B4 == HUE).int().argmax(dim=1, keepdim=True)
    place_6 = torch.tensor([0, 1, 2, 1, 2, 3])  # which of the four operations fills a slot, when on its side of the hue
    filled_B6 = torch.where(torch.arange(SLOTS) < SLOTS // 2, place_6 < hue_place_B1, place_6 > hue_place_B1)
    kind_B6 = order_B4[:, place_6]
    color_B6 = torch.where(filled_B6, factors_B4.gather(1, kind_B6), 1.0)
    gray_B6 = torch.where(kind_B6 == SATURATION, 1 - color_B6, 0.0)
    mean_B6 = torch.where(kind_B6 == CONTRAST, 1 - color_B6, 0.0)
    return torch.stack([color_B6, gray_B6, mean_B6], dim=2), hue_offsets(factors_B4[:, HUE])


def hue_offsets(shifts_B: Tensor) -> Tensor:
    """Return the position of a pixel of hue 0 relative to red, green and blue after a shift of the hue: float (B, 3).

    In sixths of the hue circle, in [-3, 3]; that relative to red is 0 when there is no shift.

    Args:
        shifts_B: float, fractions of the hue circle, on the CPU.
    """
    return (6 * shifts_B[:, None] - torch.tensor([0.0, 2.0, 4.0]) + 3).remainder(6) - 3


def draw_factors(
    n: int, ranges: tuple[float, float, float, float], p: float, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw the order and the factors of n images as torchvision's `ColorJitter` does, applied with probability p.

    Args:
        n: number of images.
        ranges: r of brightness, contrast, saturation and hue: factors are uniform in [max(0, 1 - r), 1 + r], the hue
            shift in [-r, r].
        p: probability that an image is jittered; the others have factors that change nothing.
        rng: a CPU generator.

    Returns:
        The order, int64 (n, 4), and the factors, float (n, 4), as `compose` takes them.
    """
    order = permutations(n, 4, rng)
    columns = [uniform(n, max(0.0, 1 - r), 1 + r, rng) for r in ranges[:3]]
    factors = torch.stack([*columns, uniform(n, -ranges[HUE], ranges[HUE], rng)], dim=1).float()
    return order, torch.where(bernoulli(n, p, rng)[:, None], factors, torch.tensor(NEUTRAL))


def jitter_colors(x_BCHW: Tensor, blends_B63: Tensor, hues_B3: Tensor) -> Tensor:
    """Apply a color jitter, as `compose` returns it, and return the new pixels; those passed in may be overwritten."""
    blends_B63, hues_B3 = blends_B63.to(x_BCHW.dtype), hues_B3.to(x_BCHW.dtype)
    slots = [EVERYTHING] * SLOTS if computes_all_rows(x_BCHW) else used_slots(blends_B63)
    for slot, (rows, terms) in enumerate(slots):
        if slot == SLOTS // 2:
            x_BCHW = update_rows(x_BCHW, hues_B3[:, 0] != 0, lambda part, some: shift_hue_(part, hues_B3[some]))
        if any(terms):
            blend_(x_BCHW[rows], blends_B63[rows, slot], *terms)
    return x_BCHW


def used_slots(blends_B63: Tensor) -> list[tuple[slice, list[bool]]]:
    """Return for each slot the rows from the first to the last image that fills it, and what any has there.

    That is, a multiple of the color, of its luminance and of the mean luminance, and values that may leave [0, 1].
    """
    blends = blends_B63.numpy()
    terms_B64 = np.concatenate([blends != NO_BLEND, blends[:, :, :1] > 1], axis=2)
    filled_6B = terms_B64[:, :, 0].T
    first, last = filled_6B.argmax(axis=1).tolist(), (len(blends) - filled_6B[:, ::-1].argmax(axis=1)).tolist()
    return [
        (slice(start, end), terms)
        for start, end, terms in zip(first, last, terms_B64.any(axis=0).tolist(), strict=True)
    ]


def similar_blends(blends_B63: Tensor) -> Tensor:
    """Return an order of images in which those that fill the same slots, by the same terms, are adjacent: int64 (B,).

    On a CPU a chunk of them then skips most slots and terms.
    """
    filled_BT = torch.cat([blends_B63[:, :, 0] != 1, (blends_B63[:, :, 1:] != 0).flatten(1)], dim=1)
    return (filled_BT.float() @ 2.0 ** -torch.arange(filled_BT.shape[1])).argsort(stable=True)


def blend_(
    x_BCHW: Tensor, weights_B3: Tensor, color: bool = True, gray: bool = True, mean: bool = True, clamp: bool = True
) -> Tensor:
    """Sum multiples of the color, of its luminance and of the image's mean luminance, within [0, 1], in place.

    Args:
        x_BCHW: the pixels.
        weights_B3: float, the multiples.
        color: whether any image has a multiple of the color other than 1; each that has another term has.
        gray: whether any has a multiple of the luminance.
        mean: whether any has a multiple of the mean luminance.
        clamp: whether values of any may leave [0, 1].

    Returns:
        The pixels.
    """
    color_B111, gray_B111, mean_B111 = weights_B3[:, :, None, None, None].unbind(1)
    if gray:
        light_B1HW = luminance(x_BCHW)
        added_B1HW = light_B1HW * gray_B111
        if mean:
            added_B1HW.add_(light_B1HW.mean(dim=(2, 3), keepdim=True).mul_(mean_B111))
        torch.addcmul(added_B1HW, x_BCHW, color_B111, out=x_BCHW)
    elif mean:
        light_B111 = luminance(x_BCHW.mean(dim=(2, 3), keepdim=True))
        x_BCHW.mul_(color_B111).add_(light_B111.mul_(mean_B111))
    elif color:
        x_BCHW.mul_(color_B111)
    return x_BCHW.clamp_(0, 1) if clamp else x_BCHW


def luminance(x_BCHW: Tensor) -> Tensor:
    """Return the luminance of each pixel, (B, 1, H, W): weighted for RGB, else the mean of the channels."""
    if x_BCHW.shape[1] != 3:
        return x_BCHW.mean(dim=1, keepdim=True)
    red, green, blue = x_BCHW[:, 0:1], x_BCHW[:, 1:2], x_BCHW[:, 2:3]
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def shift_hue_(x_B3HW: Tensor, offsets_B3: Tensor) -> Tensor:
    """Shift the hue, in HSV and in place, by `hue_offsets`. Returns the pixels.

    The six cases of the hue reduce to two mirrored ones: in sixths of the circle from red, the hue is
    1 + (g + b - r - low) / span where green exceeds blue, and the negative of that where blue exceeds green.
    """
    red, green, blue = x_B3HW.unbind(1)
    low, span = torch.minimum(red, green), torch.maximum(red, green)
    low, span = torch.minimum(low, blue, out=low), torch.maximum(span, blue, out=span)
    span.sub_(low).add_(1e-12)  # of a gray pixel, which has no hue, any hue works
    hue = (green + blue).sub_(red).sub_(low).div_(span).add_(1)
    hue.copysign_(green - blue)
    # A primary is high within a sixth of the circle of its own hue, low beyond two sixths, linear between. Hue and
    # offset lie in [-3, 3], so that their sum is less than a circle from 0.
    position = torch.add(hue[:, None], offsets_B3[:, :, None, None], out=x_B3HW)
    distance = position.abs_().sub_(3).abs_().clamp_(1, 2)  # from the opposite hue
    return torch.addcmul(low.sub_(span)[:, None], distance, span[:, None], out=x_B3HW)


def grayscale(x_BCHW: Tensor, chosen_B: Tensor) -> Tensor:
    """Convert the chosen images (bool (B,)) to grayscale and return new pixels; those passed in may be overwritten."""
    if x_BCHW.shape[1] != 3:
        return x_BCHW
    return update_rows(x_BCHW, chosen_B, lambda part, rows: part.copy_(luminance(part).expand_as(part)))


def solarize(x_BCHW: Tensor, chosen_B: Tensor, threshold: float = 0.5) -> Tensor:
    """Invert values >= `threshold` of the chosen images (bool (B,)) and return new pixels, maybe in those passed in."""

    def invert(part: Tensor, rows: Tensor | slice) -> Tensor:  # crops and blurs may exceed 1 by a rounding error
        return torch.where(part >= threshold, (1 - part).clamp_(min=0), part)

    return update_rows(x_BCHW, chosen_B, invert)
