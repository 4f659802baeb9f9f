"""View generators of every kind of signal."""

from __future__ import annotations

from itertools import permutations
from math import factorial

import torch
from torch import Tensor

from sensorium import Modality, View, ViewGenerator, check_range, device_constant
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.time_axis import permute_segments


class Plain(ViewGenerator):
    """The signal itself: one view, without augmentation."""

    def __init__(self, modality: Modality) -> None:
        pass

    def __call__(self, batch: SignalBatch, rng: torch.Generator) -> list[View]:
        """Return the unchanged batch."""
        return [View(batch)]


class Permutation(ViewGenerator):
    """Segment permutation: one view whose equal segments are shuffled, for a pretext task that predicts the order.

    Its target "order" is int64 (B,): the index of the permutation in the order of `itertools.permutations`. A signal
    shorter than `segments` has empty segments.

    Args:
        segments: number of segments, 2 to 5; there are 2, 6, 24 or 120 classes.
    """

    target, classes = "order", 24

    def __init__(self, modality: Modality, segments: int = 4) -> None:
        check_range("views 'permutation'", "[2, 5]", segments=segments)
        self.segments, self.classes = segments, factorial(segments)

    def __call__(self, batch: SignalBatch, rng: torch.Generator) -> list[View]:
        """Return the shuffled view with its target."""
        orders_NS = segment_orders(batch.device, self.segments)
        target_B = torch.randint(len(orders_NS), (len(batch),), generator=rng, device=batch.device)
        steps_T = torch.arange(batch.values.shape[2], device=batch.device)
        segment_BT = (steps_T * orders_NS.shape[1] // batch.lengths[:, None]).clamp(max=orders_NS.shape[1] - 1)
        rank_BS = orders_NS[target_B].argsort(dim=1)  # the new position of each segment
        return [View(permute_segments(batch, segment_BT, rank_BS), target=target_B)]


@device_constant
def segment_orders(segments: int) -> Tensor:
    """Return all orders of segments, int64 (N, S), as `itertools.permutations` lists them."""
    return torch.tensor(list(permutations(range(segments))))
