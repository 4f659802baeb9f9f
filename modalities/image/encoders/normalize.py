"""Normalization of pixels by channel mean and standard deviation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sensorium import SensoriumError
from sensorium.errors import RecipeError
from sensorium.modalities.image.batch import ImageBatch

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Those of ImageNet, by channel."""


class Normalize(nn.Module):
    """Subtracts the mean of every channel and divides by its standard deviation.

    Args:
        channels: number of channels.
        mean: one value per channel, of pixels in [0, 1]; three values for another number of channels are averaged.
        std: likewise.
    """

    def __init__(self, channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        # Constants of the recipe, not weights: they travel with the module, not with its state.
        self.register_buffer("mean", self._column(mean, channels, "mean"), persistent=False)
        self.register_buffer("std", self._column(std, channels, "std"), persistent=False)

    @staticmethod
    def _column(values: Sequence[float], channels: int, name: str) -> Tensor:
        column = torch.tensor(tuple(values), dtype=torch.float32)
        if len(column) == 3 and channels != 3:
            column = column.mean().repeat(channels)
        if len(column) != channels:
            raise SensoriumError(f"The option '{name}' has {len(column)} values for images of {channels} channels.")
        return column[:, None, None]

    def forward(self, batch: ImageBatch) -> Tensor:
        """Return float (B, C, H, W) of about mean 0 and standard deviation 1, of uint8 or float pixels."""
        return (batch.unit_pixels().to(self.mean.dtype) - self.mean) / self.std


def check_normalization(
    weights: str, given: Mapping[str, Sequence[float] | None], own: Mapping[str, Sequence[float]]
) -> None:
    """Check that pixels are normalized as pretrained weights were trained.

    Args:
        weights: whose they are, as an error names them.
        given: "mean" and "std" -> the encoder's option of that name; None where it is left out.
        own: "mean" and "std" of the weights.

    Raises:
        RecipeError: when an option has other values than the weights ask for.
    """
    for option, values in given.items():
        if values is not None and not np.allclose(values, own[option], atol=1e-3):
            raise RecipeError(
                f"The encoder's option '{option}' is {list(values)}, and {weights} were trained with "
                f"{list(own[option])}: leave out '{option}'."
            )
