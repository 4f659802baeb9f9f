"""A picture without its colors, which are to be told."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F

from sensorium import Batch, SensoriumError, View
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.patches import patch_grid
from sensorium.modalities.image.views.augment import Augment, AugmentedViews
from sensorium.modalities.image.views.lab import color_bins, nearest_bin, to_lab


class Colorization(AugmentedViews):
    """One view of lightness alone; the color of every patch is to be told (Zhang et al. 2016, section 2).

    The view holds L* of CIE L*a*b*, alike in all three channels. Its target "color" is int64 (B, T), for each patch of
    the encoder the bin of its mean (a*, b*), 10 units a side; the paper's network, too, tells colors at a quarter of
    the picture's side. Most of what pictures show is nearly gray: the objective's `balance` weighs rare colors up.

    Args:
        modality: the image modality, of three channels.
        patch: side of a patch in pixels, as the encoder has it; "auto" is an eighth of the picture's shorter side.
        scale: share of the picture's area that the crop may have.
        flip: probability that left and right are exchanged.
    """

    target, per_token = "color", True

    def __init__(
        self,
        modality: ImageModality,
        patch: int | Literal["auto"] = "auto",
        scale: tuple[float, float] = (0.3, 1.0),
        flip: float = 0.5,
    ) -> None:
        if modality.channels != 3:
            raise SensoriumError(
                f"The views 'colorization' need pictures in color, not of {modality.channels} channels."
            )
        super().__init__(modality, [Augment(modality.size, scale, flip=flip)])
        self.patch, *_ = patch_grid(modality.size, patch)
        self.classes = len(color_bins())

    def __call__(self, batch: Batch, rng: torch.Generator) -> list[View]:
        """Return the view in gray, with the colors as its target."""
        (view,) = super().__call__(batch, rng)
        lab_B3HW = to_lab(view.batch.pixels)
        bins_BT = nearest_bin(F.avg_pool2d(lab_B3HW[:, 1:], self.patch)).flatten(1)
        gray_B3HW = (lab_B3HW[:, :1] / 100).clamp(0, 1).expand(-1, 3, -1, -1).contiguous()
        return [View(ImageBatch(gray_B3HW), bins_BT)]
