"""One mild crop, for images that are paired with text."""

from __future__ import annotations

from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views.augment import Augmentation, AugmentedViews


class RandomResizedCropViews(AugmentedViews):
    """One random resized crop of at least 90 % of the image, as in CLIP (Radford et al. 2021, section 2.4).

    Colors are not changed.

    Args:
        modality: the image modality.
        scale: range of the crop's area, as a fraction of the image's area, in (0, 1].
        ratio: range of the crop's aspect ratio, width over height, > 0.
        flip: probability of a horizontal flip; 0 by default, as a text may name a side and an image may show letters.
    """

    def __init__(
        self,
        modality: ImageModality,
        scale: tuple[float, float] = (0.9, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.0,
    ) -> None:
        super().__init__(modality, [Augmentation(modality.size, scale, ratio, flip)])
