"""Shuffled tiles, whose order is to be told.

Letters: B pictures, C channels, H and W height and width, N tiles, P permutations, h and w a tile's height and width.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations as all_orders

import numpy as np
import torch
from torch import Tensor

from sensorium import Batch, SensoriumError, View
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views.augment import Augment, AugmentedViews
from sensorium.modalities.image.views.chance import host

GROUND, DEVIATION, LEAST = 0.5, 0.2, 0.05
"""The grey between tiles, which is also each tile's mean; a tile's deviation; what is added to that of flat tiles."""


@cache
def permutation_set(tiles: int, count: int) -> Tensor:
    """Return permutations that are far from each other: int64 (P, tiles * tiles), the same in every process.

    Greedy (Noroozi and Favaro 2016, algorithm 1): each is the one with the largest Hamming distance from those before
    it. The paper maximises the mean distance; here the least distance comes first and the mean decides among equals.
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
    """One view whose tiles stand in another order (Noroozi and Favaro 2016), put together to one picture again.

    Its target "jigsaw" is int64 (B,), which permutation it is. In the paper tiles go through the network one by one;
    here they share a picture, so that any encoder and the plain objective serve. What would give the order away without
    a look at what is drawn is taken out: every tile is cut at a random place of its cell, so that lines do not go on
    from tile to tile, and a grey gap parts them; every tile has the same mean and deviation, so that a slope of light
    says nothing; some pictures are grey, so that the colour fringes of a lens do not tell a tile's place.

    Args:
        modality: the image modality.
        tiles: tiles down and across, 2 or 3.
        permutations: how many orders there are to tell apart, chosen to be far from each other; up to 24 for 2 tiles.
        gap: share of a cell's side that is cut away around its tile; the paper's is 11 of 75 pixels.
        scale: share of the picture's area that the crop before the cut may have.
        flip: probability that left and right are exchanged before the cut.
        grey: probability that colour is taken out.
    """

    target, classes = "jigsaw", 100

    def __init__(
        self,
        modality: ImageModality,
        tiles: int = 3,
        permutations: int = 100,
        gap: float = 0.15,
        scale: tuple[float, float] = (0.5, 1.0),
        flip: float = 0.5,
        grey: float = 0.3,
    ) -> None:
        most = {2: 24, 3: 1000}.get(tiles)
        if most is None or not 2 <= permutations <= most:
            raise SensoriumError(
                f"The views 'jigsaw' cut 2 tiles a side with 2 to 24 permutations, or 3 with 2 to 1000; not {tiles} "
                f"with {permutations}."
            )
        if not 0 <= gap < 1:
            raise SensoriumError(f"The gap of the views 'jigsaw' is a share of a cell from 0 to below 1, not {gap}.")
        super().__init__(modality, [Augment(modality.size, scale, flip=flip, grey=grey)])
        self.tiles, self.classes = tiles, permutations
        self.cell = (modality.size[0] // tiles, modality.size[1] // tiles)
        self.margin = tuple(round(gap * side) for side in self.cell)
        if min(side - lost for side, lost in zip(self.cell, self.margin, strict=True)) < 1:
            raise SensoriumError(f"Pictures of {modality.size} are too small for {tiles}x{tiles} tiles.")

    def __call__(self, batch: Batch, rng: torch.Generator) -> list[View]:
        """Return the shuffled view with its target."""
        rng = host(rng)
        (view,) = super().__call__(batch, rng)
        x_BCHW, n = view.batch.pixels, self.tiles**2
        orders_PN = permutation_set(self.tiles, self.classes)
        target_B = torch.randint(len(orders_PN), (len(x_BCHW),), generator=rng)
        jitter = [torch.randint(lost + 1, (len(x_BCHW), n), generator=rng) for lost in self.margin]
        centred = [torch.tensor(lost // 2).expand(1, n) for lost in self.margin]
        width = x_BCHW.shape[3]
        cut_BNp = self.places(jitter, width).to(x_BCHW.device, non_blocking=True)
        paste_1Np = self.places(centred, width).to(x_BCHW.device, non_blocking=True)
        order_BN = orders_PN[target_B].to(x_BCHW.device, non_blocking=True)
        view.batch.pixels = rearranged(x_BCHW, cut_BNp, order_BN, paste_1Np)
        view.target = target_B.to(x_BCHW.device, non_blocking=True)
        return [view]

    def places(self, offsets: list[Tensor], width: int) -> Tensor:
        """Return where the pixels of each tile lie in a flattened picture: int64 (B, N, h * w).

        Args:
            offsets: down and across, how far (B, N) each tile lies from the corner of its cell.
            width: of the picture.
        """
        number_N = torch.arange(self.tiles**2)
        corners = (number_N // self.tiles * self.cell[0], number_N % self.tiles * self.cell[1])
        h, w = (side - lost for side, lost in zip(self.cell, self.margin, strict=True))
        rows_BNh = (corners[0] + offsets[0])[..., None] + torch.arange(h)
        columns_BNw = (corners[1] + offsets[1])[..., None] + torch.arange(w)
        return (rows_BNh[..., None] * width + columns_BNw[..., None, :]).flatten(2)


def rearranged(x_BCHW: Tensor, cut_BNp: Tensor, order_BN: Tensor, paste_1Np: Tensor) -> Tensor:
    """Return pictures of grey ground on which cell i holds tile `order[i]`, evened out.

    Args:
        x_BCHW: float pixels.
        cut_BNp: where the pixels of each tile lie.
        order_BN: which tile goes to each cell.
        paste_1Np: where the pixels of each cell's tile go.
    """
    (b, c), (n, p) = x_BCHW.shape[:2], cut_BNp.shape[1:]
    cut_BNp = cut_BNp.gather(1, order_BN[..., None].expand(-1, -1, p))
    tiles_BCNp = x_BCHW.flatten(2).gather(2, cut_BNp.flatten(1)[:, None].expand(-1, c, -1)).view(b, c, n, p)
    variance_B1N1, mean_B1N1 = torch.var_mean(tiles_BCNp, dim=(1, 3), keepdim=True, correction=0)
    even_BCNp = (tiles_BCNp - mean_B1N1) / (variance_B1N1.sqrt() + LEAST) * DEVIATION + GROUND
    ground_BCp = torch.full_like(x_BCHW.flatten(2), GROUND)
    places_BCp = paste_1Np.flatten(1)[:, None].expand(b, c, -1)
    return ground_BCp.scatter(2, places_BCp, even_BCNp.flatten(2).clamp(0, 1)).view(x_BCHW.shape)
