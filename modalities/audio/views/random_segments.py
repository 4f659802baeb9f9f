"""The base of the view generators of audio."""

from __future__ import annotations

import numpy as np
import torch

from sensorium import ViewGenerator
from sensorium.modalities.audio.modality import AudioClip, AudioModality


class AudioViews(ViewGenerator):
    """Views of audio clips. With random segments, a `stage` on the loader worker reads a segment of each long clip.

    Args:
        modality: the audio modality, fitted.
    """

    def __init__(self, modality: AudioModality) -> None:
        self.modality = modality
        if modality.piece == "random":
            self.stage = self.random_segment  # type: ignore[method-assign]  # without a stage, a cache can be used

    def random_segment(self, example: np.ndarray | AudioClip, rng: torch.Generator) -> np.ndarray:
        """Return a random segment of a long clip; a clip that is not longer than a segment is not changed."""
        if not isinstance(example, AudioClip):
            return example
        return self.modality.read_segment(example, float(torch.rand((), generator=rng)))
