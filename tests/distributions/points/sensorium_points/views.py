"""View generators of point clouds: batched, with draws for each cloud; padding never moves.

Letters: B clouds, N points, C coordinates of a point, S of them of space.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sensorium import View, ViewGenerator, check_range
from sensorium_points.modality import Clouds, Points


def moved(batch: Clouds, where_BNS: Tensor) -> Clouds:
    """Return the clouds with other coordinates of space; padding stays 0."""
    space = where_BNS.shape[2]
    xyz_BNC = torch.cat([where_BNS, batch.xyz[..., space:]], dim=2)
    return Clouds(xyz_BNC * batch.mask[..., None], batch.mask)


def rotation(angle_B: Tensor, space: int) -> Tensor:
    """Return rotations in the plane of the first two coordinates: (B, S, S)."""
    cos, sin, zero = angle_B.cos(), angle_B.sin(), torch.zeros_like(angle_B)
    rows = [cos, -sin, sin, cos] if space == 2 else [cos, -sin, zero, sin, cos, zero, zero, zero, zero + 1]
    return torch.stack(rows, dim=-1).view(-1, space, space)


class Plain(ViewGenerator):
    """One view: the cloud itself."""

    def __init__(self, modality: Points) -> None:
        pass

    def __call__(self, batch: Clouds, rng: torch.Generator) -> list[View]:
        """Return the clouds themselves."""
        return [View(batch)]


class Augment(ViewGenerator):
    """Rotated, scaled, jittered and thinned clouds (PointContrast, Xie et al. 2020, section 3.2).

    Args:
        degrees: largest rotation about the axis of sight, drawn uniformly from both directions, 0 to 180.
        scale: largest change of size along each axis, in [0, 1): .2 is from .8 to 1.2.
        jitter: standard deviation of the noise of each coordinate, in radii, >= 0.
        drop: largest fraction of the points that is left out, in [0, 1); one point stays.
        views: number of views, each with its own draws.
    """

    views = 2

    def __init__(
        self,
        modality: Points,
        degrees: float = 20.0,
        scale: float = 0.2,
        jitter: float = 0.02,
        drop: float = 0.4,
        views: int = 2,
    ) -> None:
        check_range("views 'augment'", "[0, 180]", degrees=degrees)
        check_range("views 'augment'", "[0, 1)", scale=scale, drop=drop)
        check_range("views 'augment'", "[0, inf)", jitter=jitter)
        self.space, self.degrees, self.scale, self.jitter = modality.space, degrees, scale, jitter
        self.drop, self.views = drop, views

    def __call__(self, batch: Clouds, rng: torch.Generator) -> list[View]:
        """Return the views."""
        return [View(self.augmented(batch, rng)) for _ in range(self.views)]

    def augmented(self, batch: Clouds, rng: torch.Generator) -> Clouds:
        """Return clouds after one draw of every augmentation."""
        b, n, _ = batch.xyz.shape
        where_BNS, like = batch.xyz[..., : self.space], {"generator": rng, "device": batch.device}
        angle_B = (2 * torch.rand(b, **like) - 1) * math.radians(self.degrees)
        size_B1S = 1 + (2 * torch.rand(b, 1, self.space, **like) - 1) * self.scale
        where_BNS = (where_BNS * size_B1S) @ rotation(angle_B, self.space).to(where_BNS.dtype)
        where_BNS = where_BNS + self.jitter * torch.randn(b, n, self.space, **like)
        draw_BN = torch.rand(b, n, **like).masked_fill(~batch.mask, 2.0)
        kept_BN = batch.mask & (draw_BN >= self.drop * torch.rand(b, 1, **like))
        kept_BN |= batch.mask & (draw_BN == draw_BN.amin(1, keepdim=True)) & ~kept_BN.any(1, keepdim=True)
        return moved(Clouds(batch.xyz, kept_BN), where_BNS)


class Rotation(ViewGenerator):
    """One view, rotated by a multiple of 90 degrees, which is the target (Gidaris et al. 2018, eq. 2, on points).

    The target "rotation" is int64 (B,), the number of quarter turns about the axis of sight.
    """

    target, classes = "rotation", 4

    def __init__(self, modality: Points) -> None:
        self.space = modality.space

    def __call__(self, batch: Clouds, rng: torch.Generator) -> list[View]:
        """Return the rotated clouds with their quarter turns."""
        turns_B = torch.randint(4, (len(batch),), generator=rng, device=batch.device)
        turn_BSS = rotation(turns_B * (math.pi / 2), self.space).to(batch.xyz.dtype)
        return [View(moved(batch, batch.xyz[..., : self.space] @ turn_BSS), target=turns_B)]
