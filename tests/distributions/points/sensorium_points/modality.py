"""The modality 'points': clouds of points, of any number.

Letters: B clouds, N points of a cloud (of the largest in a batch), C coordinates of a point.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from sensorium import BadSample, Batch, Modality, check_range

MAX_POINTS = 4096
"""Largest cloud that is read whole; of larger ones evenly spaced points are taken."""
SIDE = 128
"""Side of a preview in pixels."""


@dataclass
class Clouds(Batch):
    """Clouds of points; padding may stand among the points of a cloud.

    Args:
        xyz: float (B, N, C), 0 where `mask` is False.
        mask: bool (B, N), True at points.
    """

    xyz: Tensor
    mask: Tensor

    @classmethod
    def cat(cls, batches: Sequence[Self]) -> Self:
        """Join batches, padded to the largest cloud."""
        most = max(batch.xyz.shape[1] for batch in batches)
        return cls(
            torch.cat([F.pad(b.xyz, (0, 0, 0, most - b.xyz.shape[1])) for b in batches]),
            torch.cat([F.pad(b.mask, (0, most - b.mask.shape[1])) for b in batches]),
        )

    def shape_key(self) -> Hashable:
        """Return a key that does not depend on the number of points."""
        return type(self), self.xyz.shape[2], self.xyz.dtype


class Points(Modality):
    """Clouds of points in space, in no order, each of any number of them.

    A raw value is an array or list (N, C) of N points with C coordinates: two or three of space, then values such as
    intensity. A cloud is moved to its center and scaled so that its farthest point has distance 1; further values stay.

    Args:
        space: number of coordinates of space, 2 or 3.
        values: number of further values of a point, >= 0.
    """

    def __init__(self, space: int = 3, values: int = 0) -> None:
        check_range("modality 'points'", "[2, 3]", space=space)
        check_range("modality 'points'", "[0, inf)", values=values)
        self.space, self.values = space, values

    @property
    def width(self) -> int:
        """C, coordinates and values of a point."""
        return self.space + self.values

    def decode(self, raw: Any) -> Tensor:
        """Read a cloud: float32 (N, C), centered, of radius 1.

        Raises:
            BadSample: when it is no array of points with C finite numbers, or empty.
        """
        try:
            points_NC = np.asarray(raw, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise BadSample(f"it is no array of numbers: {error}", "unsupported") from error
        if points_NC.ndim != 2 or points_NC.shape[1] != self.width:
            raise BadSample(f"it has the shape {points_NC.shape}, not (points, {self.width})", "unsupported")
        if not len(points_NC):
            raise BadSample("it has no points", "empty")
        if not np.isfinite(points_NC).all():
            raise BadSample("a coordinate is missing or infinite")
        if len(points_NC) > MAX_POINTS:
            points_NC = points_NC[np.linspace(0, len(points_NC) - 1, MAX_POINTS).astype(int)]
        where_NS = points_NC[:, : self.space] - points_NC[:, : self.space].mean(0)
        radius = np.linalg.norm(where_NS, axis=1).max()
        scaled_NS = where_NS / radius if radius > 0 else where_NS
        return torch.from_numpy(np.concatenate([scaled_NS, points_NC[:, self.space :]], axis=1)).float()

    def collate(self, examples: Sequence[Tensor]) -> Clouds:
        """Pad clouds, float32 (N_i, C) each, to the largest of them."""
        counts_B = torch.tensor([len(points_NC) for points_NC in examples])
        xyz_BNC = torch.nn.utils.rnn.pad_sequence(list(examples), batch_first=True)
        return Clouds(xyz_BNC, torch.arange(xyz_BNC.shape[1]) < counts_B[:, None])

    def examples(self, batch: Clouds) -> list[Tensor]:
        """Return the clouds of a batch, float (N_i, C) each, on the CPU."""
        return [xyz_NC[mask_N] for xyz_NC, mask_N in zip(batch.xyz.cpu(), batch.mask.cpu(), strict=True)]

    def describe(self, raw: Any, example: Tensor) -> dict[str, float | bool | str]:
        """Return the number of points, and whether some were left out."""
        return {"points": len(raw), f"cut to {MAX_POINTS} points": len(raw) > MAX_POINTS}

    def content(self, raw: Any, example: Tensor) -> Any:
        """Return the points in lexicographic order, which a cloud does not have."""
        points_NC = example.numpy().astype(np.float64).round(6)
        return points_NC[np.lexsort(points_NC.T[::-1])]

    def preview(self, example: Tensor) -> Image.Image:
        """Draw the points from the front; near ones, or those of a high first value, are darker."""
        image = Image.new("RGB", (SIDE, SIDE), "white")
        draw = ImageDraw.Draw(image)
        points = example.float().nan_to_num().numpy()
        depth_N = points[:, 2] if points.shape[1] > 2 else np.zeros(len(points))
        span = np.ptp(depth_N) or 1.0
        for (x, y), depth in zip(points[:, :2].clip(-1.5, 1.5), (depth_N - depth_N.min()) / span, strict=True):
            across, down, gray = (x / 2.6 + 0.5) * SIDE, (0.5 - y / 2.6) * SIDE, int(170 * (1 - depth))
            draw.ellipse((across - 2, down - 2, across + 2, down + 2), fill=(gray, gray, gray))
        return image

    @property
    def baseline_description(self) -> str:
        """What the baseline features are."""
        return "histogram of points on a grid of 8 cells a side, mean values of points"

    def baseline_features(self, batch: Clouds) -> np.ndarray:
        """Return the features of the description: float32 (B, 8 ** space + values)."""
        rows = []
        for points_NC in self.examples(batch):
            cells_NS = ((points_NC[:, : self.space] + 1) * 4).long().clamp(0, 7)
            index_N = (cells_NS * 8 ** torch.arange(self.space)).sum(1)
            counts = torch.bincount(index_N, minlength=8**self.space) / len(points_NC)
            rows.append(torch.cat([counts, points_NC[:, self.space :].mean(0)]))
        return torch.stack(rows).numpy().astype(np.float32)
