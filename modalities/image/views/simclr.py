"""The augmentation policy of SimCLR."""

from __future__ import annotations

from typing import Literal

from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views.augment import Augmentation, AugmentedViews

BLUR_FROM = 64
"""Shorter side from which images are blurred by default; smaller ones lose their content (Chen et al. 2020, B.9)."""


class SimCLRViews(AugmentedViews):
    """Random resized crop, horizontal flip, color jitter, grayscale and blur, as in SimCLR (Chen et al. 2020).

    Appendix A. Every view has the same policy and its own draws.

    Args:
        modality: the image modality.
        views: number of views.
        scale: range of a crop's area, as a fraction of the image's area, in (0, 1].
        ratio: range of a crop's aspect ratio, width over height, > 0.
        flip: probability of a horizontal flip.
        strength: color jitter strength, >= 0: brightness, contrast and saturation by .8 of it, hue by .2 of it.
        jitter: probability of the color jitter.
        gray: probability of the conversion to grayscale.
        blur: probability of a Gaussian blur; "auto" is .5, and 0 for images below 64 pixels.
        sigma: range of the standard deviation of the blur, in pixels.
        solarize: probability of solarization.
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
        policy = Augmentation(modality.size, scale, ratio, flip, ranges, jitter, gray, blur, sigma, solarize)
        super().__init__(modality, [policy] * views)
