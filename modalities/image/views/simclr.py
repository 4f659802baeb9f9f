"""The views of SimCLR."""

from __future__ import annotations

from typing import Literal

from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views.augment import Augment, AugmentedViews

BLUR_FROM = 64
"""The side from which on pictures are blurred by default; smaller ones lose their content (Chen et al., B.9)."""


class SimCLRViews(AugmentedViews):
    """Random crops with flips, color jitter, gray and blur (Chen et al. 2020, appendix A).

    Args:
        modality: the image modality.
        views: how many views.
        scale: share of the picture's area that a crop may have.
        ratio: aspect, width over height, that a crop may have.
        flip: probability that left and right are exchanged.
        strength: of the color jitter: brightness, contrast and saturation by .8 of it, the hue by .2 of it.
        jitter: probability of the color jitter.
        gray: probability that color is taken out.
        blur: probability of a Gaussian blur; "auto" is .5, and 0 for pictures below 64 pixels.
        sigma: range of the blur's width in pixels.
        solarize: probability that bright values are inverted.
    """

    def __init__(
        self,
        modality: ImageModality,
        views: int = 2,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        strength: float = 1.0,
        jitter: float = 0.8,
        gray: float = 0.2,
        blur: float | Literal["auto"] = "auto",
        sigma: tuple[float, float] = (0.1, 2.0),
        solarize: float = 0.0,
    ) -> None:
        if blur == "auto":
            blur = 0.5 if min(modality.size) >= BLUR_FROM else 0.0
        ranges = (0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength)
        law = Augment(modality.size, scale, ratio, flip, ranges, jitter, gray, blur, sigma, solarize)
        super().__init__(modality, [law] * views)
