"""How a batch becomes views."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch

from sensorium.types import Batch, View


class ViewGenerator(ABC):
    """Makes views of a batch, batched, on the batch's device."""

    views: int = 1
    """Number of views it returns, negative views aside."""
    negative_views: int = 0
    """Number of further views after those, marked `is_negative`: corrupted, negatives of their own records."""
    target: str | None = None
    """Name of the target of its views; None for views without a target."""
    classes: int | None = None
    """Number of classes of the target, when it is a class of each record, int64 (B,), or of each token; else None."""
    per_token: bool = False
    """Whether the target is a class of each token of a token encoder, int64 (B, T), -100 (ignored index) for none."""
    info: tuple[str, ...] = ()
    """Entries of `View.info` that its views have and objectives use."""

    @abstractmethod
    def __call__(self, batch: Batch, rng: torch.Generator) -> list[View]:
        """Return `views` views of the batch, and `negative_views` negative ones after them.

        Parameters are drawn per example from `rng`, a generator on the batch's device; the input is not
        modified, and no global generator is used. Draws with examples along the first axis (or copies of all, one
        after the other) are those of the global batch, whatever number of ranks it is cut for; what each example needs
        another number of is drawn from `sensorium.RowStreams`.
        """

    def stage(self, example: Any, rng: torch.Generator) -> Any:
        """Change one decoded example before collation, on the loader worker; by default, not at all.

        For what must run before examples have one shape, such as a crop of a large photograph. `rng` is a CPU
        generator seeded from (seed, epoch, record id). A generator that overrides it cannot be fed from a cache.
        """
        return example


def has_target(generator: ViewGenerator | type[ViewGenerator], target: str) -> bool:
    """Return whether the views of a generator, or of a class of generators, have the target that an objective needs."""
    return generator.target == target or (target == "class" and generator.classes is not None)
