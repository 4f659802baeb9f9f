"""Quarter turns, to be told apart."""

from __future__ import annotations

import torch

from sensorium import Batch, SensoriumError, View
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views.augment import Augment, AugmentedViews
from sensorium.modalities.image.views.geometry import quarter_turns
from sensorium.modalities.image.views.random_draws import host


class Rotation(AugmentedViews):
    """One view, turned counter-clockwise by 0, 90, 180 or 270 degrees (Gidaris et al. 2018).

    Its target "rotation" is int64 (B,), the number of quarter turns.

    Args:
        modality: the image modality, of square pictures.
        scale: share of the picture's area that the crop before the turn may have.
        ratio: aspect, width over height, that the crop may have.
        flip: probability that left and right are exchanged before the turn.
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
                f"The views 'rotation' need square pictures, not {modality.size[0]}x{modality.size[1]}."
            )
        super().__init__(modality, [Augment(modality.size, scale, ratio, flip)])

    def __call__(self, batch: Batch, rng: torch.Generator) -> list[View]:
        """Return the turned view with its target."""
        rng = host(rng)
        (view,) = super().__call__(batch, rng)
        turns = torch.randint(4, (len(batch),), generator=rng).to(batch.device, non_blocking=True)
        return [View(ImageBatch(quarter_turns(view.batch.pixels, turns)), turns)]
