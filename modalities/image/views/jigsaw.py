"""Jigsaw puzzles: the shuffled tiles of an image, with the permutation as target.

Letters: B images, C channels, H and W height and width, N tiles, P permutations, h and w a tile's height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import permutations as all_permutations
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sensorium import Batch, SensoriumError, View, check_range, device_constant
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views.augment import Augmentation, AugmentedViews

MEAN, STD, EPS = 0.5, 0.2, 0.05
"""Mean and standard deviation of a normalized tile, and what is added to a tile's own standard deviation."""


@cache
def permutation_set(grid: int, count: int) -> Tensor:
    """Return permutations of large Hamming distance: int64 (P, grid * grid), the same in every process.

    Greedy (Noroozi and Favaro 2016, algorithm 1): each is the farthest from those before it. The paper maximizes the
    mean Hamming distance; here the minimum comes first and the mean breaks ties.
    """
    tiles = grid * grid
    orders_NM = np.ascontiguousarray(np.array(list(all_permutations(range(tiles))), dtype=np.uint8).T)
    least_M = np.full(orders_NM.shape[1], tiles + 1, dtype=np.uint8)
    total_M = np.zeros(orders_NM.shape[1], dtype=np.int32)
    pick, chosen = orders_NM.shape[1] // 2, []
    for _ in range(count):
        chosen.append(pick)
        distance_M = (orders_NM != orders_NM[:, pick, None]).sum(0, dtype=np.uint8)
        np.minimum(least_M, distance_M, out=least_M)
        total_M += distance_M
        farthest = np.flatnonzero(least_M == least_M.max())
        pick = int(farthest[total_M[farthest].argmax()])
    return torch.from_numpy(orders_NM[:, chosen].T.astype(np.int64))


permutation_table = device_constant(permutation_set)


class JigsawViews(AugmentedViews):
    """The shuffled tiles of an image, each a view (jigsaw puzzles, Noroozi and Favaro 2016).

    The encoder sees one tile at a time, as in the paper, and `predict` concatenates their features; so features
    describe a tile's content, not its position. The target "jigsaw" is int64 (B,), the index of the permutation.
    Shortcuts are removed as in the paper: every tile is a random crop of its cell, so that edges do not continue from
    tile to tile; every tile is normalized, so that brightness gradients carry no information; some images are gray, so
    that chromatic aberration does not reveal a tile's position.

    Args:
        modality: the image modality.
        grid: tiles per side, 2 or 3.
        permutations: number of permutations, the classes, of large Hamming distance; 2 to 24 for 2 tiles per side, 2 to
            1000 for 3; 100 in the paper.
        tile_size: side of a tile in pixels, a multiple of a patch encoder's patch; "auto" does not rescale images.
        gap: fraction of a cell's side that the crop of its tile leaves out, in [0, 1); 11 of 75 pixels in the paper.
        scale: range of the area of the crop before the cut, as a fraction of the image's area, in (0, 1].
        flip: probability of a horizontal flip before the cut.
        gray: probability of the conversion to grayscale.
        normalize: whether each tile is normalized to one mean and standard deviation; for drawings, whose colors matter
            and which have no brightness gradients, false is better.
    """

    views, target, classes = 9, "jigsaw", 100

    def __init__(
        self,
        modality: ImageModality,
        grid: int = 3,
        permutations: int = 100,
        tile_size: int | Literal["auto"] = "auto",
        gap: float = 0.15,
        scale: tuple[float, float] = (0.5, 1.0),
        flip: float = 0.5,
        gray: float = 0.3,
        normalize: bool = True,
    ) -> None:
        most = {2: 24, 3: 1000}.get(grid)
        if most is None or not 2 <= permutations <= most:
            raise SensoriumError(
                "The views 'jigsaw' have a grid of 2 tiles per side with 2 to 24 permutations, or of 3 with 2 to 1000, "
                f"not {grid} with {permutations}."
            )
        check_range("views 'jigsaw'", "[0, 1)", gap=gap)
        height, width = (int(side / grid * (1 - gap)) if tile_size == "auto" else tile_size for side in modality.size)
        if min(height, width) < 1:
            raise SensoriumError(f"Images of {modality.size} are too small for a grid of {grid}x{grid} tiles.")
        self.tile, self.cell = (height, width), (round(height / (1 - gap)), round(width / (1 - gap)))
        policy = Augmentation((self.cell[0] * grid, self.cell[1] * grid), scale, flip=flip, gray=gray)
        super().__init__(modality, [policy])
        self.grid, self.classes, self.views, self.normalize = grid, permutations, grid**2, normalize

    def draw(self, batch: Batch, rng: torch.Generator) -> list[Tensor]:
        """Draw the parameters of the whole image, its permutation, and the offsets of its tiles from their cells."""
        params, margins = (
            super().draw(batch, rng),
            [cell - tile for cell, tile in zip(self.cell, self.tile, strict=True)],
        )
        target_B = torch.randint(self.classes, (len(batch),), generator=rng)
        offsets = [torch.randint(margin + 1, (len(batch), self.views), generator=rng) for margin in margins]
        return [*params, target_B, *offsets]

    def make(self, batch: Batch, draws: Sequence[Tensor]) -> list[View]:
        """Return the tiles in their new order, each with the target."""
        *params, target_B, down_BN, right_BN = draws
        (whole,) = super().make(batch, params)
        x_BCHW = whole.batch.pixels
        order_BN1 = permutation_table(x_BCHW.device, self.grid, self.classes)[target_B][..., None]
        index_BNp = self.pixel_indices([down_BN, right_BN], x_BCHW.shape[3])
        index_BNp = index_BNp.gather(1, order_BN1.expand(-1, -1, index_BNp.shape[2]))
        tiles_BNChw = take_tiles(x_BCHW, index_BNp, self.tile)
        if self.normalize:
            tiles_BNChw = normalize_tiles(tiles_BNChw)
        return [View(ImageBatch(x_BChw), target=target_B) for x_BChw in tiles_BNChw.unbind(1)]

    def pixel_indices(self, offsets: list[Tensor], width: int) -> Tensor:
        """Return the indices of each tile's pixels in a flattened image: int64 (B, N, h * w).

        Args:
            offsets: vertical and horizontal offset (B, N) of each tile from the corner of its cell.
            width: of the image.
        """
        down_BN, right_BN = offsets
        number_N, rows_h, columns_w = (torch.arange(n, device=down_BN.device) for n in (self.views, *self.tile))
        rows_BNh = (number_N // self.grid * self.cell[0] + down_BN)[..., None] + rows_h
        columns_BNw = (number_N % self.grid * self.cell[1] + right_BN)[..., None] + columns_w
        return (rows_BNh[..., None] * width + columns_BNw[..., None, :]).flatten(2)


def take_tiles(x_BCHW: Tensor, index_BNp: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the pixels at each tile's indices: (B, N, C, h, w)."""
    (b, c), n = x_BCHW.shape[:2], index_BNp.shape[1]
    tiles_BCNp = x_BCHW.flatten(2).gather(2, index_BNp.flatten(1)[:, None].expand(-1, c, -1)).view(b, c, n, -1)
    return tiles_BCNp.transpose(1, 2).unflatten(3, size).contiguous()


def normalize_tiles(tiles_BNChw: Tensor) -> Tensor:
    """Return the tiles with mean `MEAN` and standard deviation `STD`, over all channels together."""
    variance_BN111, mean_BN111 = torch.var_mean(tiles_BNChw, dim=(2, 3, 4), keepdim=True, correction=0)
    return ((tiles_BNChw - mean_BN111) / (variance_BN111.sqrt() + EPS) * STD + MEAN).clamp(0, 1)
