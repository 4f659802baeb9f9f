"""The image without augmentation."""

from __future__ import annotations

import torch

from sensorium import View, ViewGenerator
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.modality import ImageModality


class PlainViews(ViewGenerator):
    """One view: the image without augmentation.

    Args:
        modality: the image modality.
    """

    def __init__(self, modality: ImageModality) -> None:
        self.modality = modality

    def __call__(self, batch: ImageBatch, rng: torch.Generator) -> list[View]:
        """Return the batch, of the size of the modality, as its only view."""
        return [View(self.modality.sized(batch))]
