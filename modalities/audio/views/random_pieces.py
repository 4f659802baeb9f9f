"""The base of the views of sounds."""

from __future__ import annotations

import numpy as np
import torch

from sensorium import ViewGenerator
from sensorium.modalities.audio.modality import AudioClip, AudioModality


class Sounds(ViewGenerator):
    """Views of sounds. When the modality takes random pieces of long ones, a `stage` on the loader worker reads them.

    Args:
        modality: the audio modality, fitted.
    """

    def __init__(self, modality: AudioModality) -> None:
        self.modality = modality
        if modality.pieces == "random":
            self.stage = self.random_piece  # type: ignore[method-assign]  # without a stage a cache can feed it

    def random_piece(self, example: np.ndarray | AudioClip, rng: torch.Generator) -> np.ndarray:
        """Return a random piece of a recording; a sound that is no longer than a piece stays as it is."""
        if not isinstance(example, AudioClip):
            return example
        return self.modality.piece(example, float(torch.rand((), generator=rng)))
