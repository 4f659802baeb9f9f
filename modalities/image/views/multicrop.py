"""Multi-crop: a few global crops and many local crops, as in SwAV and DINO."""

from __future__ import annotations

from typing import Literal

from sensorium import check_range
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views.augment import Augmentation, AugmentedViews


class MultiCropViews(AugmentedViews):
    """Global and local crops with color jitter, grayscale, blur and solarization, as in DINO (Caron et al. 2021).

    Section 3.1 and appendix C. The first global crop is always blurred; the others with probability .1, and solarized
    with probability .2; local crops are blurred with probability .5.

    Args:
        modality: the image modality.
        global_views: number of global crops, of the modality's size, >= 1.
        local_views: number of local crops, >= 0.
        local_size: side of the local crops in pixels; "auto" is half the modality's size.
        global_scale: range of a global crop's area, as a fraction of the image's area, in (0, 1].
        local_scale: range of a local crop's area, likewise.
        flip: probability of a horizontal flip.
        strength: color jitter strength, >= 0: brightness and contrast by .4 of it, saturation by .2, hue by .1.
        jitter: probability of the color jitter.
        gray: probability of the conversion to grayscale.
        sigma: range of the standard deviation of the Gaussian blur, in pixels.
        clean_scale: side of clean copies of the global crops, as a multiple of theirs: the same crops without color
            jitter, grayscale, blur and solarization, in `View.info["clean"]`, as teachers of tokens see them (DINOv3,
            Siméoni et al. 2025, section 4.3, has 2); 0 for none.
    """

    def __init__(
        self,
        modality: ImageModality,
        global_views: int = 2,
        local_views: int = 6,
        local_size: int | Literal["auto"] = "auto",
        global_scale: tuple[float, float] = (0.4, 1.0),
        local_scale: tuple[float, float] = (0.05, 0.4),
        flip: float = 0.5,
        strength: float = 1.0,
        jitter: float = 0.8,
        gray: float = 0.2,
        sigma: tuple[float, float] = (0.1, 2.0),
        clean_scale: int = 0,
    ) -> None:
        check_range("views 'multicrop'", "[1, inf)", global_views=global_views)
        check_range("views 'multicrop'", "[0, inf)", local_views=local_views, clean_scale=clean_scale)
        height, width = modality.size
        small = (height // 2, width // 2) if local_size == "auto" else (local_size, local_size)

        def policy(size: tuple[int, int], scale: tuple[float, float], blur: float, solarize: float) -> Augmentation:
            ranges = (0.4 * strength, 0.4 * strength, 0.2 * strength, 0.1 * strength)
            return Augmentation(size, scale, (3 / 4, 4 / 3), flip, ranges, jitter, gray, blur, sigma, solarize)

        first = policy(modality.size, global_scale, blur=1.0, solarize=0.0)
        others = policy(modality.size, global_scale, blur=0.1, solarize=0.2)
        local = policy(small, local_scale, blur=0.5, solarize=0.0)
        super().__init__(modality, [first, *[others] * (global_views - 1)], [local] * local_views, clean_scale)
