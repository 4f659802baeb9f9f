"""Views with patches hidden, for masked objectives.

`View.info["masked"]` is bool (B, T), True where a patch is hidden, in the encoder's order: row by row. Every row hides
equally many, so that the kept ones form a batch.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor

from sensorium import Batch, SensoriumError, View
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.patches import patch_grid
from sensorium.modalities.image.views.augment import Augment, AugmentedViews
from sensorium.modalities.image.views.random_draws import host, uniform


def random_mask(n: int, rows: int, columns: int, hidden: int, rng: torch.Generator) -> Tensor:
    """Hide `hidden` patches of each of n grids, every set of them equally likely: bool (n, rows * columns)."""
    return _first(torch.rand(n, rows * columns, generator=rng), hidden)


def block_mask(
    n: int, rows: int, columns: int, hidden: int, rng: torch.Generator, share: tuple[float, float] = (0.1, 0.2)
) -> Tensor:
    """Hide `hidden` patches of each of n grids under rectangles, drawn until enough is covered (Bao et al. 2022).

    Args:
        n: number of grids.
        rows: patches down.
        columns: patches across.
        hidden: how many are hidden; of the last rectangle only as many as are wanted.
        rng: a CPU generator.
        share: of the grid that one rectangle covers; its aspect is log-uniform between 1/3 and 3.

    Returns:
        bool (n, rows * columns).
    """
    blocks = 16
    area = rows * columns * uniform(n * blocks, *share, rng)
    aspect = 3 ** uniform(n * blocks, -1, 1, rng)
    h = (area / aspect).sqrt().round().clamp(1, rows)
    w = (area * aspect).sqrt().round().clamp(1, columns)
    top = (uniform(n * blocks, 0, 1, rng) * (rows - h + 1)).floor()[:, None]
    left = (uniform(n * blocks, 0, 1, rng) * (columns - w + 1)).floor()[:, None]
    y, x = torch.arange(rows), torch.arange(columns)
    inside_y = (y >= top) & (y < top + h[:, None])
    inside_x = (x >= left) & (x < left + w[:, None])
    covered = (inside_y[:, :, None] & inside_x[:, None, :]).view(n, blocks, rows * columns)
    # A patch's turn is the first rectangle over it; what none covers comes last, in random order.
    turn = torch.where(covered.any(dim=1), covered.int().argmax(dim=1), blocks)
    return _first(turn + torch.rand(n, rows * columns, generator=rng), hidden)


def _first(order: Tensor, count: int) -> Tensor:
    mask = torch.zeros(order.shape, dtype=torch.bool)
    return mask.scatter_(1, order.argsort(dim=1)[:, :count], True)


class _HiddenPatches(AugmentedViews):
    info = ("masked",)

    def __init__(
        self,
        modality: ImageModality,
        hidden: float,
        patch: int | Literal["auto"],
        scale: tuple[float, float],
        flip: float,
    ) -> None:
        super().__init__(modality, [Augment(modality.size, scale, flip=flip)])
        _, self.rows, self.columns = patch_grid(modality.size, patch)
        self.hidden = round(hidden * self.rows * self.columns)
        if not 0 < self.hidden < self.rows * self.columns:
            raise SensoriumError(
                f"Hiding {hidden} of {self.rows * self.columns} patches leaves nothing to see, or nothing to guess."
            )

    def __call__(self, batch: Batch, rng: torch.Generator) -> list[View]:
        """Return one view with its mask."""
        rng = host(rng)
        (view,) = super().__call__(batch, rng)
        view.info["masked"] = self.mask(len(batch), rng).to(batch.device, non_blocking=True)
        return [view]

    @abstractmethod
    def mask(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw the hidden patches of n pictures: bool (n, T) on the CPU."""


class RandomPatches(_HiddenPatches):
    """One view, and a mask that hides patches at random (He et al. 2022, section 3).

    Args:
        modality: the image modality.
        hidden: share of the patches that is hidden.
        patch: side of a patch in pixels, as the encoder has it; "auto" is an eighth of the picture's shorter side.
        scale: share of the picture's area that the crop may have.
        flip: probability that left and right are exchanged.
    """

    def __init__(
        self,
        modality: ImageModality,
        hidden: float = 0.75,
        patch: int | Literal["auto"] = "auto",
        scale: tuple[float, float] = (0.2, 1.0),
        flip: float = 0.5,
    ) -> None:
        super().__init__(modality, hidden, patch, scale, flip)

    def mask(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw the hidden patches of n pictures: bool (n, T) on the CPU."""
        return random_mask(n, self.rows, self.columns, self.hidden, rng)


class BlockPatches(_HiddenPatches):
    """One view, and a mask that hides rectangles of patches (Bao et al. 2022, algorithm 1).

    Args:
        modality: the image modality.
        hidden: share of the patches that is hidden.
        patch: side of a patch in pixels, as the encoder has it; "auto" is an eighth of the picture's shorter side.
        scale: share of the picture's area that the crop may have.
        flip: probability that left and right are exchanged.
    """

    def __init__(
        self,
        modality: ImageModality,
        hidden: float = 0.4,
        patch: int | Literal["auto"] = "auto",
        scale: tuple[float, float] = (0.2, 1.0),
        flip: float = 0.5,
    ) -> None:
        super().__init__(modality, hidden, patch, scale, flip)

    def mask(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw the hidden patches of n pictures: bool (n, T) on the CPU."""
        return block_mask(n, self.rows, self.columns, self.hidden, rng)
