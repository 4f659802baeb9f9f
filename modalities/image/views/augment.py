"""The augmentation policy of one view, and the base of the generators whose views each have a policy."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sensorium import Batch, SensoriumError, View, ViewGenerator, check_range, host_generator
from sensorium.modalities.image.batch import CropBatch, ImageBatch
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.resize import resize
from sensorium.modalities.image.views.blur import gaussian_blur
from sensorium.modalities.image.views.color import ColorJitter, draw_color_jitter, grayscale_, jitter_colors_, solarize_
from sensorium.modalities.image.views.geometry import draw_boxes, resized_crop
from sensorium.modalities.image.views.random_draws import bernoulli, uniform
from sensorium.modalities.image.views.resampling import Resampling
from sensorium.modalities.image.views.row_updates import update_rows_

CHUNK = 2**19
"""Values that are augmented at once on a CPU, so that they stay in its cache from the crop to the last operation."""


@dataclass(frozen=True)
class AugmentationParams:
    """The drawn parameters of a batch, one row an image: resampling on the pixels' device, the rest on the CPU."""

    crop: Resampling
    jitter: ColorJitter | None
    gray: Tensor
    blurred: Tensor
    blur: Resampling | None
    solarize: Tensor

    def __getitem__(self, rows: slice | Tensor) -> AugmentationParams:
        columns = (getattr(self, f.name) for f in dataclasses.fields(self))
        return AugmentationParams(*(None if column is None else column[rows] for column in columns))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Augmentation:
    """The augmentation policy of one view.

    Random resized crop, horizontal flip, color jitter, grayscale, Gaussian blur and solarization, in this order.

    Args:
        size: (height, width) of the view.
        scale: range of a crop's area, as a fraction of the image's area, in (0, 1].
        ratio: range of a crop's aspect ratio, width over height, > 0.
        flip: probability of a horizontal flip.
        ranges: color jitter ranges of brightness, contrast, saturation and hue, as those of torchvision.
        jitter: probability of the color jitter.
        gray: probability of the conversion to grayscale.
        blur: probability of a Gaussian blur.
        sigma: range of the standard deviation of the blur, in pixels.
        solarize: probability of solarization.

    Raises:
        SensoriumError: when a probability or a range is not valid.
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
        check_range("image views", "[0, 1]", flip=self.flip, jitter=self.jitter, gray=self.gray)
        check_range("image views", "[0, 1]", blur=self.blur, solarize=self.solarize)
        for name, most in (("scale", 1.0), ("ratio", float("inf")), ("sigma", float("inf"))):
            low, high = getattr(self, name)
            if not 0 < low <= high <= most:
                raise SensoriumError(
                    f"The option '{name}' of image views is a range [low, high] above 0"
                    f"{' and up to 1' if most == 1 else ''}, not [{low}, {high}]."
                )
        if min(self.ranges) < 0 or self.ranges[3] > 0.5:
            raise SensoriumError(f"Color jitter ranges are at least 0, that of the hue at most .5, not {self.ranges}.")

    def draw(self, pixels_BCHW: Tensor, rng: torch.Generator, cropped: bool = False) -> AugmentationParams:
        """Draw the parameters of a batch from a CPU generator; of the pixels only shape and device matter."""
        n, channels, height, width = pixels_BCHW.shape
        if cropped:
            boxes = torch.tensor([[0, 0, height, width]]).expand(n, -1)
        else:
            boxes = draw_boxes(n, height, width, self.scale, self.ratio, rng)
        boxes, flips = boxes.to(pixels_BCHW.device), bernoulli(n, self.flip, rng).to(pixels_BCHW.device)
        sigmas = uniform(n, *self.sigma, rng).float().to(pixels_BCHW.device)
        jitters = self.jitter > 0 and any(self.ranges)
        return AugmentationParams(
            crop=resized_crop(boxes, flips, (height, width), self.size),
            jitter=draw_color_jitter(n, self.ranges, self.jitter, channels, rng) if jitters else None,
            gray=bernoulli(n, self.gray, rng),
            blurred=bernoulli(n, self.blur, rng),
            blur=gaussian_blur(sigmas, self.size, self.sigma[1]) if self.blur > 0 else None,
            solarize=bernoulli(n, self.solarize, rng),
        )

    def __call__(self, pixels_BCHW: Tensor, rng: torch.Generator, cropped: bool = False) -> Tensor:
        """Return one view, float (B, C, *size) in [0, 1], of uint8 or float pixels, which may be `cropped` already."""
        n, channels = pixels_BCHW.shape[:2]
        params = self.draw(pixels_BCHW, rng, cropped)
        order = torch.arange(n) if params.jitter is None else params.jitter.hue_step.argsort(stable=True)
        step = max(1, CHUNK // (channels * self.size[0] * self.size[1])) if pixels_BCHW.device.type == "cpu" else n
        dtype = pixels_BCHW.dtype if pixels_BCHW.is_floating_point() else torch.float32
        view = torch.empty(n, channels, *self.size, dtype=dtype, device=pixels_BCHW.device)
        for rows in order.split(step):  # images whose operations have the same order are adjacent
            index = rows.to(view.device, non_blocking=True)
            view.index_copy_(0, index, self.apply(pixels_BCHW.index_select(0, index), params[rows]))
        return view

    def apply(self, pixels_BCHW: Tensor, params: AugmentationParams) -> Tensor:
        """Return the view with the given parameters; each row depends on its own parameters alone."""
        x = params.crop(pixels_BCHW)
        if not pixels_BCHW.is_floating_point():
            x.mul_(1 / 255)
        if params.jitter is not None:
            x = jitter_colors_(x, params.jitter)
        grayscale_(x, params.gray.nonzero()[:, 0])
        if params.blur is not None:
            rows = params.blurred.nonzero()[:, 0]
            update_rows_(x, rows, params.blur[rows.to(x.device, non_blocking=True)])
        return solarize_(x, params.solarize.nonzero()[:, 0])


class AugmentedViews(ViewGenerator):
    """Views that each have an `Augmentation`.

    When the modality has a canvas, a `stage` on the loader worker cuts the crops; else the batch's device does.

    Args:
        modality: the image modality.
        global_policies: the policies of the first views, all of one size.
        local_policies: the policies of the local views, of another size.
    """

    def __init__(
        self,
        modality: ImageModality,
        global_policies: Sequence[Augmentation],
        local_policies: Sequence[Augmentation] = (),
    ) -> None:
        self.modality = modality
        self.global_policies, self.local_policies = tuple(global_policies), tuple(local_policies)
        self.views = len(self.global_policies) + len(self.local_policies)
        if modality.canvas is not None:
            self.stage = self.cut_crops  # type: ignore[method-assign]  # a generator without a stage can use a cache

    def __call__(self, batch: Batch, rng: torch.Generator) -> list[View]:
        """Return the views, global ones first."""
        policies, rng = (*self.global_policies, *self.local_policies), host_generator(rng)
        if isinstance(batch, CropBatch):
            local_crops = batch.local_crops.unbind(1) if batch.local_crops is not None else ()
            crops = [*batch.global_crops.unbind(1), *local_crops]
            views = [policy(pixels, rng, cropped=True) for policy, pixels in zip(policies, crops, strict=True)]
        else:
            views = [policy(batch.pixels, rng) for policy in policies]
        return [View(ImageBatch(pixels)) for pixels in views]

    def cut_crops(self, example: np.ndarray, rng: torch.Generator) -> CropBatch:
        """Cut every view's crop out of one large image: the `stage` of a modality with a canvas."""
        global_crops = _cut(example, self.global_policies, rng)
        return CropBatch(global_crops, _cut(example, self.local_policies, rng) if self.local_policies else None)


def _cut(example: np.ndarray, policies: Sequence[Augmentation], rng: torch.Generator) -> Tensor:
    """Return one crop for each policy, uint8 (1, V, C, h, w)."""
    crops = []
    for policy in policies:
        (box,) = draw_boxes(1, *example.shape[1:], policy.scale, policy.ratio, rng).tolist()
        top, left, height, width = box
        crops.append(resize(example[:, top : top + height, left : left + width], *policy.size))
    return torch.from_numpy(np.stack(crops))[None]
