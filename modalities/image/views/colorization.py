"""Colorization: the lightness of an image as input, the color of each patch as target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from sensorium import Batch, SensoriumError, View
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.patches import patch_grid
from sensorium.modalities.image.views.augment import Augmentation, AugmentedViews
from sensorium.modalities.image.views.lab import color_bins, nearest_bin, to_lab


class ColorizationViews(AugmentedViews):
    """One grayscale view; the target is the color of every patch (colorization, Zhang et al. 2016, section 2).

    The view has L* of CIE L*a*b* in all three channels. Its target "color" is int64 (B, T): for each patch of the
    encoder, the bin of its mean (a*, b*), 10 units a side; the paper, too, predicts colors at a quarter of the image's
    resolution. Most patches are nearly gray: the objective's `balance` rebalances classes toward rare colors.

    Args:
        modality: the image modality, of three channels.
        patch: side of a patch in pixels, as the encoder has it; "auto" is an eighth of the image's shorter side.
        scale: range of the crop's area, as a fraction of the image's area, in (0, 1].
        flip: probability of a horizontal flip.
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
            raise SensoriumError(f"The views 'colorization' need color images, not {modality.channels} channels.")
        super().__init__(modality, [Augmentation(modality.size, scale, flip=flip)])
        self.patch, *_ = patch_grid(modality.size, patch)
        self.classes = len(color_bins())

    def make(self, batch: Batch, draws: Sequence[Tensor]) -> list[View]:
        """Return the grayscale view, with the colors as its target."""
        (view,) = super().make(batch, draws)
        lab_B3HW = to_lab(view.batch.pixels)
        bins_BT = nearest_bin(F.avg_pool2d(lab_B3HW[:, 1:], self.patch)).flatten(1)
        gray_B3HW = (lab_B3HW[:, :1] / 100).clamp(0, 1).expand(-1, 3, -1, -1).contiguous()
        return [View(ImageBatch(gray_B3HW), bins_BT)]
