"""The views of DINO: a few large crops, many small ones."""

from __future__ import annotations

from typing import Literal

from sensorium import SensoriumError
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views.augment import Augment, AugmentedViews


class Multicrop(AugmentedViews):
    """Large crops of the whole picture, then small crops of parts of it (Caron et al. 2021, section 3.1, appendix C).

    The first large crop is always blurred; the others seldom, but they may be solarized; small ones are blurred half
    the time.

    Args:
        modality: the image modality.
        large_views: how many large crops, of the modality's size.
        small_views: how many small crops.
        small_size: side of the small crops in pixels; "auto" is half the modality's size.
        large_scale: share of the picture's area that a large crop may have.
        small_scale: share that a small crop may have.
        flip: probability that left and right are exchanged.
        strength: of the color jitter: brightness and contrast by .4 of it, saturation by .2, the hue by .1.
        jitter: probability of the color jitter.
        gray: probability that color is taken out.
        sigma: range of the blur's width in pixels.
    """

    def __init__(
        self,
        modality: ImageModality,
        large_views: int = 2,
        small_views: int = 6,
        small_size: int | Literal["auto"] = "auto",
        large_scale: tuple[float, float] = (0.4, 1.0),
        small_scale: tuple[float, float] = (0.05, 0.4),
        flip: float = 0.5,
        strength: float = 1.0,
        jitter: float = 0.8,
        gray: float = 0.2,
        sigma: tuple[float, float] = (0.1, 2.0),
    ) -> None:
        if large_views < 1 or small_views < 0:
            raise SensoriumError("The views 'multicrop' need at least one large crop.")
        height, width = modality.size
        small = (height // 2, width // 2) if small_size == "auto" else (small_size, small_size)

        def law(size: tuple[int, int], scale: tuple[float, float], blur: float, solarize: float) -> Augment:
            ranges = (0.4 * strength, 0.4 * strength, 0.2 * strength, 0.1 * strength)
            return Augment(size, scale, (3 / 4, 4 / 3), flip, ranges, jitter, gray, blur, sigma, solarize)

        first = law(modality.size, large_scale, blur=1.0, solarize=0.0)
        others = law(modality.size, large_scale, blur=0.1, solarize=0.2)
        part = law(small, small_scale, blur=0.5, solarize=0.0)
        super().__init__(modality, [first, *[others] * (large_views - 1)], [part] * small_views)
