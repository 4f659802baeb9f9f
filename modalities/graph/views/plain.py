"""The graph itself."""

from __future__ import annotations

import torch

from sensorium import Modality, View, ViewGenerator
from sensorium.modalities.graph.batch import GraphBatch


class Plain(ViewGenerator):
    """One view: the graph as it is, for objectives that hide tokens themselves."""

    views = 1

    def __init__(self, modality: Modality) -> None:
        pass

    def __call__(self, batch: GraphBatch, rng: torch.Generator) -> list[View]:
        """Return the batch."""
        return [View(batch)]
