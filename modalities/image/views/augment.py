"""The law of one view, and the base of the generators whose views each follow one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sensorium import Batch, SensoriumError, View, ViewGenerator
from sensorium.modalities.image.batch import CropBatch, ImageBatch
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.resize import resize
from sensorium.modalities.image.views.blur import gaussian_blur
from sensorium.modalities.image.views.color import Jitter, draw_jitter, gray_, jitter_, solarize_
from sensorium.modalities.image.views.geometry import crop, random_boxes
from sensorium.modalities.image.views.in_place import change_
from sensorium.modalities.image.views.random_draws import chosen, host, uniform
from sensorium.modalities.image.views.resampling import Mix

CHUNK = 2**19
"""Values that are changed at once on a CPU, so that they stay in its cache from the crop to the last step."""


@dataclass(frozen=True)
class Draw:
    """What happens to a whole batch, one row a picture: which pixels to mix on their device, the rest on the CPU."""

    crop: Mix
    jitter: Jitter | None
    grayed: Tensor
    blurred: Tensor
    blur: Mix | None
    solarized: Tensor

    def __getitem__(self, rows: slice | Tensor) -> Draw:
        columns = (getattr(self, f.name) for f in dataclasses.fields(self))
        return Draw(*(None if column is None else column[rows] for column in columns))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Augment:
    """The law of one view: crop, flip, color jitter, gray, blur and solarization, in this order.

    Args:
        size: (height, width) of the view.
        scale: share of the picture's area that a crop may have.
        ratio: aspect, width over height, that a crop may have.
        flip: probability that left and right are exchanged.
        ranges: how far brightness, contrast, saturation and hue are jittered.
        jitter: probability of the jitter.
        gray: probability that color is taken out.
        blur: probability of a Gaussian blur.
        sigma: range of its width in pixels.
        solarize: probability that bright values are inverted.

    Raises:
        SensoriumError: when a probability or a range is none.
    """

    size: tuple[int, int]
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    ranges: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    jitter: float = 0.0
    gray: float = 0.0
    blur: float = 0.0
    sigma: tuple[float, float] = (0.1, 2.0)
    solarize: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip", "jitter", "gray", "blur", "solarize"):
            if not 0 <= getattr(self, name) <= 1:
                raise SensoriumError(f"The option '{name}' of image views is a probability, not {getattr(self, name)}.")
        for name, most in (("scale", 1.0), ("ratio", float("inf")), ("sigma", float("inf"))):
            low, high = getattr(self, name)
            if not 0 < low <= high <= most:
                raise SensoriumError(
                    f"The option '{name}' of image views is a range [low, high] above 0"
                    f"{' and up to 1' if most == 1 else ''}, not [{low}, {high}]."
                )
        if min(self.ranges) < 0 or self.ranges[3] > 0.5:
            raise SensoriumError(f"Colors jitter by ranges from 0, the hue by at most .5, not by {self.ranges}.")

    def draw(self, pixels_BCHW: Tensor, rng: torch.Generator, cropped: bool = False) -> Draw:
        """Draw from a CPU generator what is to happen to pixels, of which only shape and device matter."""
        n, channels, height, width = pixels_BCHW.shape
        if cropped:
            boxes = torch.tensor([[0, 0, height, width]]).expand(n, -1)
        else:
            boxes = random_boxes(n, height, width, self.scale, self.ratio, rng)
        boxes, flips = boxes.to(pixels_BCHW.device), chosen(n, self.flip, rng).to(pixels_BCHW.device)
        sigmas = uniform(n, *self.sigma, rng).float().to(pixels_BCHW.device)
        jitters = self.jitter > 0 and any(self.ranges)
        return Draw(
            crop=crop(boxes, flips, (height, width), self.size),
            jitter=draw_jitter(n, self.ranges, self.jitter, channels, rng) if jitters else None,
            grayed=chosen(n, self.gray, rng),
            blurred=chosen(n, self.blur, rng),
            blur=gaussian_blur(sigmas, self.size, self.sigma[1]) if self.blur > 0 else None,
            solarized=chosen(n, self.solarize, rng),
        )

    def __call__(self, pixels_BCHW: Tensor, rng: torch.Generator, cropped: bool = False) -> Tensor:
        """Return one view, float (B, C, *size) in [0, 1], of uint8 or float pixels; `cropped` ones are cut already."""
        n, channels = pixels_BCHW.shape[:2]
        draw = self.draw(pixels_BCHW, rng, cropped)
        order = torch.arange(n) if draw.jitter is None else draw.jitter.place.argsort(stable=True)
        step = max(1, CHUNK // (channels * self.size[0] * self.size[1])) if pixels_BCHW.device.type == "cpu" else n
        dtype = pixels_BCHW.dtype if pixels_BCHW.is_floating_point() else torch.float32
        view = torch.empty(n, channels, *self.size, dtype=dtype, device=pixels_BCHW.device)
        for rows in order.split(step):  # pictures of one treatment side by side
            at = rows.to(view.device, non_blocking=True)
            view.index_copy_(0, at, self.apply(pixels_BCHW.index_select(0, at), draw[rows]))
        return view

    def apply(self, pixels_BCHW: Tensor, draw: Draw) -> Tensor:
        """Return the view that was drawn; what happens to a row depends on its own parameters alone."""
        x = draw.crop(pixels_BCHW)
        if not pixels_BCHW.is_floating_point():
            x.mul_(1 / 255)
        if draw.jitter is not None:
            x = jitter_(x, draw.jitter)
        gray_(x, draw.grayed.nonzero()[:, 0])
        if draw.blur is not None:
            rows = draw.blurred.nonzero()[:, 0]
            change_(x, rows, draw.blur[rows.to(x.device, non_blocking=True)])
        return solarize_(x, draw.solarized.nonzero()[:, 0])


class AugmentedViews(ViewGenerator):
    """Views that each follow one `Augment`.

    When the modality keeps a canvas, crops are cut by a `stage` on the loader worker; else on the batch's device.

    Args:
        modality: the image modality.
        large: the laws of the first views, all of one size.
        small: the laws of further views, of another size.
    """

    def __init__(self, modality: ImageModality, large: Sequence[Augment], small: Sequence[Augment] = ()) -> None:
        self.modality, self.large, self.small = modality, tuple(large), tuple(small)
        self.views = len(self.large) + len(self.small)
        if modality.canvas is not None:
            self.stage = self.cut  # type: ignore[method-assign]  # a generator without a stage of its own can be fed from a cache

    def __call__(self, batch: Batch, rng: torch.Generator) -> list[View]:
        """Return the views, large ones first."""
        laws, rng = (*self.large, *self.small), host(rng)
        if isinstance(batch, CropBatch):
            crops = [*batch.large.unbind(1), *(batch.small.unbind(1) if batch.small is not None else ())]
            made = [law(pixels, rng, cropped=True) for law, pixels in zip(laws, crops, strict=True)]
        else:
            made = [law(batch.pixels, rng) for law in laws]
        return [View(ImageBatch(pixels)) for pixels in made]

    def cut(self, example: np.ndarray, rng: torch.Generator) -> CropBatch:
        """Cut every view's crop out of one large picture: the `stage` of a modality with a canvas."""
        return CropBatch(_cut(example, self.large, rng), _cut(example, self.small, rng) if self.small else None)


def _cut(example: np.ndarray, laws: Sequence[Augment], rng: torch.Generator) -> Tensor:
    """Return one crop for each law, uint8 (1, V, C, h, w)."""
    crops = []
    for law in laws:
        (box,) = random_boxes(1, *example.shape[1:], law.scale, law.ratio, rng).tolist()
        top, left, height, width = box
        crops.append(resize(example[:, top : top + height, left : left + width], *law.size))
    return torch.from_numpy(np.stack(crops))[None]
