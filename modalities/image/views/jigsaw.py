"""Shuffled tiles, whose order is to be told.

Letters: B pictures, C channels, H and W height and width, N tiles, P permutations, h and w a tile's height and width.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations as all_orders
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sensorium import Batch, SensoriumError, View
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views.augment import Augment, AugmentedViews
from sensorium.modalities.image.views.random_draws import host

MEAN, DEVIATION, LEAST = 0.5, 0.2, 0.05
"""What an evened tile has for mean and deviation, and what is added to the deviation of flat ones."""


@cache
def permutation_set(tiles: int, count: int) -> Tensor:
    """Return permutations that are far from each other: int64 (P, tiles * tiles), the same in every process.

    Greedy (Noroozi and Favaro 2016, algorithm 1): each is the one with the largest Hamming distance from those before
    it. The paper maximizes the mean distance; here the least distance comes first and the mean decides among equals.
    """
    places = tiles * tiles
    orders_NM = np.ascontiguousarray(np.array(list(all_orders(range(places))), dtype=np.uint8).T)
    least_M = np.full(orders_NM.shape[1], places + 1, dtype=np.uint8)
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


class Jigsaw(AugmentedViews):
    """A picture's tiles in another order, each a view of its own (Noroozi and Favaro 2016).

    An encoder sees one tile at a time, as in the paper, and `predict` all of them side by side; so features say what a
    tile shows, not where it stands. The target "jigsaw" is int64 (B,), which permutation it is. What would give the
    order away without a look at what is drawn is taken out: every tile is cut at a random place of its cell, so that
    lines do not go on from tile to tile; every tile has the same mean and deviation, so that a slope of light says
    nothing; some pictures are gray, so that the color fringes of a lens do not tell a tile's place.

    Args:
        modality: the image modality.
        tiles: tiles down and across, 2 or 3.
        permutations: how many orders there are to tell apart, chosen to be far from each other; up to 24 for 2 tiles.
        size: side of a tile in pixels, which an encoder of patches wants divisible; "auto" leaves pictures their scale.
        gap: share of a cell's side that is cut away around its tile; the paper's is 11 of 75 pixels.
        scale: share of the picture's area that the crop before the cut may have.
        flip: probability that left and right are exchanged before the cut.
        gray: probability that color is taken out.
        even: whether tiles are evened out; drawings have no light, and may be told by their colors.
    """

    views, target, classes = 9, "jigsaw", 100

    def __init__(
        self,
        modality: ImageModality,
        tiles: int = 3,
        permutations: int = 100,
        size: int | Literal["auto"] = "auto",
        gap: float = 0.15,
        scale: tuple[float, float] = (0.5, 1.0),
        flip: float = 0.5,
        gray: float = 0.3,
        even: bool = True,
    ) -> None:
        most = {2: 24, 3: 1000}.get(tiles)
        if most is None or not 2 <= permutations <= most:
            raise SensoriumError(
                f"The views 'jigsaw' cut 2 tiles a side with 2 to 24 permutations, or 3 with 2 to 1000; not {tiles} "
                f"with {permutations}."
            )
        if not 0 <= gap < 1:
            raise SensoriumError(f"The gap of the views 'jigsaw' is a share of a cell from 0 to below 1, not {gap}.")
        height, width = (int(side / tiles * (1 - gap)) if size == "auto" else size for side in modality.size)
        if min(height, width) < 1:
            raise SensoriumError(f"Pictures of {modality.size} are too small for {tiles}x{tiles} tiles.")
        self.tile, self.cell = (height, width), (round(height / (1 - gap)), round(width / (1 - gap)))
        cut = Augment((self.cell[0] * tiles, self.cell[1] * tiles), scale, flip=flip, gray=gray)
        super().__init__(modality, [cut])
        self.tiles, self.classes, self.views, self.even = tiles, permutations, tiles**2, even

    def __call__(self, batch: Batch, rng: torch.Generator) -> list[View]:
        """Return the tiles in their new order, the target with each."""
        rng = host(rng)
        (whole,) = super().__call__(batch, rng)
        x_BCHW, n = whole.batch.pixels, self.tiles**2
        orders_PN = permutation_set(self.tiles, self.classes)
        target_B = torch.randint(len(orders_PN), (len(x_BCHW),), generator=rng)
        lost = [cell - tile for cell, tile in zip(self.cell, self.tile, strict=True)]
        jitter = [torch.randint(pixels + 1, (len(x_BCHW), n), generator=rng) for pixels in lost]
        cut_BNp = self.places(jitter, x_BCHW.shape[3]).gather(
            1, orders_PN[target_B][..., None].expand(-1, -1, self.tile[0] * self.tile[1])
        )
        tiles_BNChw = cut_out(x_BCHW, cut_BNp.to(x_BCHW.device, non_blocking=True), self.tile)
        if self.even:
            tiles_BNChw = evened(tiles_BNChw)
        target_B = target_B.to(x_BCHW.device, non_blocking=True)
        return [View(ImageBatch(x_BChw), target=target_B) for x_BChw in tiles_BNChw.unbind(1)]

    def places(self, offsets: list[Tensor], width: int) -> Tensor:
        """Return where the pixels of each tile lie in a flattened picture: int64 (B, N, h * w).

        Args:
            offsets: down and across, how far (B, N) each tile lies from the corner of its cell.
            width: of the picture.
        """
        number_N = torch.arange(self.tiles**2)
        corners = (number_N // self.tiles * self.cell[0], number_N % self.tiles * self.cell[1])
        rows_BNh = (corners[0] + offsets[0])[..., None] + torch.arange(self.tile[0])
        columns_BNw = (corners[1] + offsets[1])[..., None] + torch.arange(self.tile[1])
        return (rows_BNh[..., None] * width + columns_BNw[..., None, :]).flatten(2)


def cut_out(x_BCHW: Tensor, places_BNp: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the pixels that lie at each tile's places: (B, N, C, h, w)."""
    (b, c), n = x_BCHW.shape[:2], places_BNp.shape[1]
    tiles_BCNp = x_BCHW.flatten(2).gather(2, places_BNp.flatten(1)[:, None].expand(-1, c, -1)).view(b, c, n, -1)
    return tiles_BCNp.transpose(1, 2).unflatten(3, size).contiguous()


def evened(tiles_BNChw: Tensor) -> Tensor:
    """Return tiles that all have one mean and one deviation, over their channels together."""
    variance_BN111, mean_BN111 = torch.var_mean(tiles_BNChw, dim=(2, 3, 4), keepdim=True, correction=0)
    return ((tiles_BNChw - mean_BN111) / (variance_BN111.sqrt() + LEAST) * DEVIATION + MEAN).clamp(0, 1)
