"""Views that serve every kind of signal."""

from __future__ import annotations

from itertools import permutations

import torch

from sensorium import Modality, View, ViewGenerator
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.checks import within
from sensorium.modalities.signal.time import rearranged


class Plain(ViewGenerator):
    """One view: the signal itself."""

    def __init__(self, modality: Modality) -> None:
        pass

    def __call__(self, batch: SignalBatch, rng: torch.Generator) -> list[View]:
        """Return the signal itself."""
        return [View(batch)]


class Permutation(ViewGenerator):
    """One view whose equal segments are shuffled, to tell in which order they stand.

    Its target "order" is int64 (B,): the number of the order among all of them, in the order of
    `itertools.permutations`. A signal shorter than `segments` has empty segments.

    Args:
        segments: how many segments, 2 to 5; there are 2, 6, 24 or 120 orders.
    """

    target, classes = "order", 24

    def __init__(self, modality: Modality, segments: int = 4) -> None:
        within("permutation", 2, 5, segments=segments)
        self.orders = torch.tensor(list(permutations(range(segments))))
        self.classes = len(self.orders)

    def __call__(self, batch: SignalBatch, rng: torch.Generator) -> list[View]:
        """Return the shuffled view with its target."""
        orders_NS = self.orders.to(batch.device)
        target_B = torch.randint(len(orders_NS), (len(batch),), generator=rng, device=batch.device)
        steps_T = torch.arange(batch.values.shape[2], device=batch.device)
        segment_BT = (steps_T * orders_NS.shape[1] // batch.lengths[:, None]).clamp(max=orders_NS.shape[1] - 1)
        places_BS = orders_NS[target_B].argsort(dim=1)  # where each segment goes
        return [View(rearranged(batch, segment_BT, places_BS), target=target_B)]
