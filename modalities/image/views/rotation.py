"""Rotation prediction: an image rotated by a multiple of 90 degrees."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sensorium import Batch, SensoriumError, View
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views.augment import Augmentation, AugmentedViews
from sensorium.modalities.image.views.geometry import rotate_quarters


class RotationViews(AugmentedViews):
    """One view, rotated counter-clockwise by 0, 90, 180 or 270 degrees (RotNet, Gidaris et al. 2018).

    Its target "rotation" is int64 (B,), the number of quarter turns.

    Args:
        modality: the image modality, of square images.
        scale: range of the area of the crop before the rotation, as a fraction of the image's area, in (0, 1].
        ratio: range of that crop's aspect ratio, width over height, > 0.
        flip: probability of a horizontal flip before the rotation.
    """

    target, classes = "rotation", 4

    def __init__(
        self,
        modality: ImageModality,
        scale: tuple[float, float] = (0.5, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
    ) -> None:
        if modality.size[0] != modality.size[1]:
            raise SensoriumError(
                f"The views 'rotation' need square images, not {modality.size[0]}x{modality.size[1]}; set one 'size'."
            )
        super().__init__(modality, [Augmentation(modality.size, scale, ratio, flip)])

    def draw(self, batch: Batch, rng: torch.Generator) -> list[Tensor]:
        """Draw the parameters of the view, and its quarter turns."""
        return [*super().draw(batch, rng), torch.randint(4, (len(batch),), generator=rng)]

    def make(self, batch: Batch, draws: Sequence[Tensor]) -> list[View]:
        """Return the rotated view with its target."""
        *params, turns = draws
        (view,) = super().make(batch, params)
        return [View(ImageBatch(rotate_quarters(view.batch.pixels, turns)), turns)]
