"""One mild view, for pictures that come with a text."""

from __future__ import annotations

from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views.augment import Augment, AugmentedViews


class Photo(AugmentedViews):
    """One view: a crop of most of the picture (Radford et al. 2021, section 2.4), its colors as they are.

    Args:
        modality: the image modality.
        scale: share of the picture's area that the crop may have.
        ratio: aspect, width over height, that the crop may have.
        flip: probability that left and right are exchanged; 0, for a text may name a side or a picture show letters.
    """

    def __init__(
        self,
        modality: ImageModality,
        scale: tuple[float, float] = (0.9, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.0,
    ) -> None:
        super().__init__(modality, [Augment(modality.size, scale, ratio, flip)])
