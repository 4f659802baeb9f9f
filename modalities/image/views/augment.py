"""The augmentation policy of one view, and the base of the generators whose views each have a policy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sensorium import Batch, SensoriumError, View, ViewGenerator, check_range, host_generator, to_device
from sensorium.modalities.image.batch import CropBatch, ImageBatch
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.resize import resize
from sensorium.modalities.image.views.blur import gaussian_blur
from sensorium.modalities.image.views.color import (
    compose,
    draw_factors,
    grayscale,
    jitter_colors,
    similar_blends,
    solarize,
)
from sensorium.modalities.image.views.geometry import draw_boxes, resized_crop
from sensorium.modalities.image.views.random_draws import bernoulli, uniform
from sensorium.modalities.image.views.resampling import RowFilter
from sensorium.modalities.image.views.row_updates import computes_all_rows, update_rows

CHUNK = 2**18
"""Values that are augmented at once on a CPU, so that they stay in its cache from the crop to the last operation."""


class AugmentationParams(NamedTuple):
    """The drawn parameters of images, one row an image.

    Args:
        boxes: int64 (B, 4), (top, left, height, width) of the crop.
        flips: bool (B,), whether the image is flipped.
        blends: float (B, 6, 3), of the color jitter.
        hues: float (B, 3), its hue shift, as `hue_offsets`.
        gray: bool (B,), whether the image is converted to grayscale.
        blurred: bool (B,), whether it is blurred.
        sigmas: float (B,), the standard deviation of the blur, in pixels.
        solarized: bool (B,), whether it is solarized.
    """

    boxes: Tensor
    flips: Tensor
    blends: Tensor
    hues: Tensor
    gray: Tensor
    blurred: Tensor
    sigmas: Tensor
    solarized: Tensor

    def select(self, rows: slice | Tensor) -> AugmentationParams:
        """Return the parameters of some images."""
        return AugmentationParams(*(column[rows] for column in self))


PARAMS = len(AugmentationParams._fields)


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

    def without_distortion(self, scale: int) -> Augmentation:
        """Return the policy that crops and flips alone, to views of `scale` times the side."""
        height, width = self.size
        return Augmentation((scale * height, scale * width), self.scale, self.ratio, self.flip)

    def draw(
        self, n: int, channels: int, full: tuple[int, int], rng: torch.Generator, cropped: bool = False
    ) -> AugmentationParams:
        """Draw the parameters of n views from a CPU generator, on the CPU.

        Args:
            n: number of views.
            channels: of the images.
            full: (height, width) of the images.
            rng: a CPU generator.
            cropped: whether the images are crops already, which are taken whole.
        """
        whole = torch.tensor([[0, 0, *full]]).expand(n, -1)
        blends, hues = compose(*draw_factors(n, self.ranges, self.jitter, rng), channels)
        return AugmentationParams(
            boxes=whole if cropped else draw_boxes(n, *full, self.scale, self.ratio, rng),
            flips=bernoulli(n, self.flip, rng),
            blends=blends,
            hues=hues,
            gray=bernoulli(n, self.gray, rng),
            blurred=bernoulli(n, self.blur, rng),
            sigmas=uniform(n, *self.sigma, rng).float(),
            solarized=bernoulli(n, self.solarize, rng),
        )

    def __call__(self, pixels_BCHW: Tensor, params: AugmentationParams) -> Tensor:
        """Return views with the given parameters, float (N, C, *size) in [0, 1]; each depends on its own alone.

        Args:
            pixels_BCHW: uint8 or float pixels.
            params: of N views, on the pixels' device; N is a multiple of B, and view i is one of image i modulo B.
        """
        images, n = len(pixels_BCHW), len(params.boxes)
        rows_N = torch.arange(images, device=pixels_BCHW.device).repeat(n // max(images, 1))
        if computes_all_rows(pixels_BCHW):
            filters = self._filters(params, pixels_BCHW)
            return self._augment(pixels_BCHW.index_select(0, rows_N), params, filters).contiguous()
        return self._augment_in_chunks(pixels_BCHW, params, rows_N)

    def _augment_in_chunks(self, pixels_BCHW: Tensor, params: AugmentationParams, rows_N: Tensor) -> Tensor:
        """Make some views at a time, in an order in which those of a chunk have similar operations.

        Of the images only the window is converted and filtered that the crops of the chunk need.
        """
        channels, dtype = pixels_BCHW.shape[1], _float_of(pixels_BCHW)
        views = torch.empty(len(rows_N), channels, *self.size, dtype=dtype)
        order = similar_blends(params.blends)
        params = params.select(order)
        top_left, bottom_right = params.boxes[:, :2], params.boxes[:, :2] + params.boxes[:, 2:]
        columns = (order, rows_N[order], top_left, bottom_right, *params, *self._filters(params, pixels_BCHW))
        step = max(1, CHUNK // (channels * math.prod(self.size)))
        if not len(rows_N):
            return views
        for index, rows, start, end, *rest in zip(*(column.split(step) for column in columns), strict=True):
            (top, left), (bottom, right) = start.amin(0).tolist(), end.amax(0).tolist()
            window = pixels_BCHW[:, :, top:bottom, left:right].index_select(0, rows)
            some, filters = AugmentationParams(*rest[:PARAMS]), rest[PARAMS:]
            views.index_copy_(0, index, self._augment(window, some, filters, (top, left)))
        return views

    def _filters(self, params: AugmentationParams, pixels_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return taps and weights of each view's filters: of rows and columns of the crop, then of the blur."""
        rows, columns = resized_crop(params.boxes, params.flips, tuple(pixels_BCHW.shape[2:]), self.size)
        if not pixels_BCHW.is_floating_point():
            rows = rows._replace(weights=rows.weights / 255)
        blur = gaussian_blur(params.sigmas, self.size, self.sigma[1])
        return (*rows, *columns, *blur.rows, *blur.columns)

    def _augment(
        self,
        pixels_BCHW: Tensor,
        params: AugmentationParams,
        filters: Sequence[Tensor],
        corner: tuple[int, int] = (0, 0),
    ) -> Tensor:
        crop_rows, crop_columns, blur_rows, blur_columns = (RowFilter(*filters[i : i + 2]) for i in range(0, 8, 2))
        x_BCHW = pixels_BCHW.to(_float_of(pixels_BCHW))
        x_BCWH = crop_columns(crop_rows(x_BCHW, corner[0]).mT, corner[1])
        if self.jitter > 0:
            x_BCWH = jitter_colors(x_BCWH, params.blends, params.hues)
        if self.gray > 0:
            x_BCWH = grayscale(x_BCWH, params.gray)
        if self.blur > 0:
            x_BCWH = update_rows(x_BCWH, params.blurred, lambda part, rows: blur_columns.select(rows)(part))
        x_BCHW = x_BCWH.mT
        if self.blur > 0:
            x_BCHW = update_rows(x_BCHW, params.blurred, lambda part, rows: blur_rows.select(rows)(part))
        if self.solarize > 0:
            x_BCHW = solarize(x_BCHW, params.solarized)
        return x_BCHW


def _float_of(pixels: Tensor) -> torch.dtype:
    return pixels.dtype if pixels.is_floating_point() else torch.float32


class AugmentedViews(ViewGenerator):
    """Views that each have an `Augmentation`.

    When the modality has a canvas, a `stage` on the loader worker cuts the crops; else the batch's device does.

    Args:
        modality: the image modality.
        global_policies: the policies of the first views, all of one size.
        local_policies: the policies of the local views, of another size.
        clean_scale: side of the clean copies of the first views in `View.info["clean"]`, as a multiple of theirs: the
            same crops without any other change than flips; 0 for none.
    """

    def __init__(
        self,
        modality: ImageModality,
        global_policies: Sequence[Augmentation],
        local_policies: Sequence[Augmentation] = (),
        clean_scale: int = 0,
    ) -> None:
        self.modality, self.clean_scale = modality, clean_scale
        self.global_policies, self.local_policies = tuple(global_policies), tuple(local_policies)
        policies = (*self.global_policies, *self.local_policies)
        self.views = len(policies)
        self.groups = [(policy, len(list(group))) for policy, group in groupby(policies)]
        """Each policy with the number of its views; adjacent views of one policy are made at once."""
        if modality.canvas is not None:
            self.stage = self.cut_crops  # type: ignore[method-assign]  # a generator without a stage can use a cache

    def __call__(self, batch: Batch, rng: torch.Generator) -> list[View]:
        """Return the views, global ones first."""
        return self.make(batch, to_device(self.draw(batch, host_generator(rng)), batch.device))

    def draw(self, batch: Batch, rng: torch.Generator) -> list[Tensor]:
        """Draw the parameters of all views of a batch from a CPU generator, on the CPU."""
        draws: list[Tensor] = []
        for policy, count in self.groups:
            cropped = isinstance(batch, CropBatch)
            channels, *full = batch.global_crops.shape[2:] if cropped else batch.pixels.shape[1:]
            size = policy.size if cropped and policy not in self.global_policies else tuple(full)
            draws += policy.draw(len(batch) * count, channels, size, rng, cropped)
        return draws

    def make(self, batch: Batch, draws: Sequence[Tensor]) -> list[View]:
        """Return the views with the given parameters, which are on the batch's device; global views first.

        On an accelerator this is one graph of fixed shapes: `torch.compile(generator.make, fullgraph=True)`.
        """
        views: list[View] = []
        for i, (policy, count) in enumerate(self.groups):
            params = AugmentationParams(*draws[i * PARAMS : (i + 1) * PARAMS])
            images = _images_of(batch, len(views), count)
            made = [View(ImageBatch(pixels)) for pixels in policy(images, params).chunk(count)]
            if self.clean_scale and policy in self.global_policies:
                clean = policy.without_distortion(self.clean_scale)(images, params)
                made = [replace(view, info={"clean": x}) for view, x in zip(made, clean.chunk(count), strict=True)]
            views += made
        return views

    def cut_crops(self, example: np.ndarray, rng: torch.Generator) -> CropBatch:
        """Cut every view's crop out of one large image: the `stage` of a modality with a canvas."""
        global_crops = _cut(example, self.global_policies, rng, max(self.clean_scale, 1))
        return CropBatch(global_crops, _cut(example, self.local_policies, rng) if self.local_policies else None)


def _images_of(batch: Batch, start: int, count: int) -> Tensor:
    """Return the images of some views: those of the batch, or, view by view, the crops that a `stage` cut for them."""
    if not isinstance(batch, CropBatch):
        return batch.pixels
    local_crops = () if batch.local_crops is None else batch.local_crops.unbind(1)
    return torch.cat([*batch.global_crops.unbind(1), *local_crops][start : start + count])


def _cut(example: np.ndarray, policies: Sequence[Augmentation], rng: torch.Generator, scale: int = 1) -> Tensor:
    """Return one crop for each policy, of `scale` times its side, uint8 (1, V, C, h, w)."""
    crops = []
    for policy in policies:
        (box,) = draw_boxes(1, *example.shape[1:], policy.scale, policy.ratio, rng).tolist()
        top, left, height, width = box
        crop = example[:, top : top + height, left : left + width]
        crops.append(resize(crop, *(scale * side for side in policy.size)))
    return torch.from_numpy(np.stack(crops))[None]
