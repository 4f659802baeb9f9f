"""Views with a mask over patches, for masked image modeling.

`View.info["masked"]` is bool (B, T), True where a patch is masked, in the encoder's order: row by row. Every row has
equally many masked patches, so that the visible ones form a batch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from sensorium import Batch, SensoriumError, View
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.patches import patch_grid
from sensorium.modalities.image.views.augment import Augmentation, AugmentedViews
from sensorium.modalities.image.views.random_draws import uniform


def random_mask(n: int, rows: int, columns: int, masked: int, rng: torch.Generator) -> Tensor:
    """Mask `masked` patches of each of n grids, all subsets equally likely: bool (n, rows * columns)."""
    return _mask_first(torch.rand(n, rows * columns, generator=rng), masked)


def block_mask(
    n: int, rows: int, columns: int, masked: int, rng: torch.Generator, scale: tuple[float, float] = (0.1, 0.2)
) -> Tensor:
    """Mask `masked` patches of each of n grids by rectangles, drawn until enough is covered (Bao et al. 2022).

    Args:
        n: number of grids.
        rows: patches per column.
        columns: patches per row.
        masked: number of masked patches; of the last rectangle only as many as are needed.
        rng: a CPU generator.
        scale: range of a rectangle's area, as a fraction of the grid; its aspect ratio is log-uniform in [1/3, 3].

    Returns:
        bool (n, rows * columns).
    """
    blocks = 16
    area = rows * columns * uniform((n, blocks), *scale, rng).flatten()
    aspect = 3 ** uniform((n, blocks), -1, 1, rng).flatten()
    h = (area / aspect).sqrt().round().clamp(1, rows)
    w = (area * aspect).sqrt().round().clamp(1, columns)
    top = (uniform((n, blocks), 0, 1, rng).flatten() * (rows - h + 1)).floor()[:, None]
    left = (uniform((n, blocks), 0, 1, rng).flatten() * (columns - w + 1)).floor()[:, None]
    y, x = torch.arange(rows), torch.arange(columns)
    inside_y = (y >= top) & (y < top + h[:, None])
    inside_x = (x >= left) & (x < left + w[:, None])
    covered = (inside_y[:, :, None] & inside_x[:, None, :]).view(n, blocks, rows * columns)
    # Patches are ordered by the first rectangle that covers them; uncovered ones come last, in random order.
    first = torch.where(covered.any(dim=1), covered.int().argmax(dim=1), blocks)
    return _mask_first(first + torch.rand(n, rows * columns, generator=rng), masked)


def _mask_first(order: Tensor, count: int) -> Tensor:
    mask = torch.zeros(order.shape, dtype=torch.bool)
    return mask.scatter_(1, order.argsort(dim=1)[:, :count], True)


class PatchMaskViews(AugmentedViews):
    """One random resized crop, and a mask over its patches.

    Args:
        modality: the image modality.
        mask_ratio: fraction of the patches that is masked, in (0, 1); "auto" is that of the paper: .75 for random
            patches (MAE), .4 for blocks (BEiT).
        patch: side of a patch in pixels, as the encoder has it; "auto" is an eighth of the image's shorter side.
        scale: range of the crop's area, as a fraction of the image's area, in (0, 1].
        flip: probability of a horizontal flip.
    """

    info = ("masked",)
    paper_ratio: ClassVar[float]

    def __init__(
        self,
        modality: ImageModality,
        mask_ratio: float | Literal["auto"] = "auto",
        patch: int | Literal["auto"] = "auto",
        scale: tuple[float, float] = (0.2, 1.0),
        flip: float = 0.5,
    ) -> None:
        super().__init__(modality, [Augmentation(modality.size, scale, flip=flip)])
        _, self.rows, self.columns = patch_grid(modality.size, patch)
        ratio, patches = self.paper_ratio if mask_ratio == "auto" else mask_ratio, self.rows * self.columns
        self.masked = round(ratio * patches)
        if not 0 < self.masked < patches:
            raise SensoriumError(
                f"A mask_ratio of {ratio} masks {self.masked} of {patches} patches; at least one must be masked and "
                "one visible."
            )

    def draw(self, batch: Batch, rng: torch.Generator) -> list[Tensor]:
        """Draw the parameters of the view, and its mask."""
        return [*super().draw(batch, rng), self.mask(len(batch), rng)]

    def make(self, batch: Batch, draws: Sequence[Tensor]) -> list[View]:
        """Return one view with its mask."""
        *params, masked = draws
        (view,) = super().make(batch, params)
        return [View(view.batch, info={"masked": masked})]

    @abstractmethod
    def mask(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw the masks of n images: bool (n, T) on the CPU, True where a patch is masked."""


class RandomPatchMaskViews(PatchMaskViews):
    """One random resized crop with uniformly random masked patches, as in MAE (He et al. 2022, section 3)."""

    paper_ratio = 0.75

    def mask(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw the masks of n images: bool (n, T) on the CPU, True where a patch is masked."""
        return random_mask(n, self.rows, self.columns, self.masked, rng)


class BlockPatchMaskViews(PatchMaskViews):
    """One random resized crop with block-wise masked patches, as in BEiT (Bao et al. 2022, algorithm 1)."""

    paper_ratio = 0.4

    def mask(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw the masks of n images: bool (n, T) on the CPU, True where a patch is masked."""
        return block_mask(n, self.rows, self.columns, self.masked, rng)
