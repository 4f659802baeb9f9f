"""Several view generators of one modality: each objective of a recipe sees the views of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sensorium.contracts import ViewGenerator
from sensorium.data.decoding import overrides_stage
from sensorium.errors import RecipeError
from sensorium.types import Batch, View


class SeveralViews(ViewGenerator):
    """The views of several generators, one after the other, the negative views of each behind its own.

    Args:
        generators: at least one.
        path: their key in the recipe, for errors.

    Raises:
        RecipeError: for a generator that changes examples as they are loaded, which all the others would see.
    """

    def __init__(self, generators: Sequence[ViewGenerator], path: str) -> None:
        self.generators = list(generators)
        self.views = sum(one.views + one.negative_views for one in self.generators)
        self.info = tuple(dict.fromkeys(name for one in self.generators for name in one.info))
        self.mined = self.generators[0]
        """What makes views of mined negatives."""
        for number, one in enumerate(self.generators):
            if overrides_stage(one) and len(self.generators) > 1:
                raise RecipeError(
                    f"{path}.{number} changes examples as they are loaded, such as by crops of images of any size, and "
                    "no other view generator can stand beside it: let the modality give all examples one size, or name "
                    "one generator."
                )

    def __call__(self, batch: Batch, rng: torch.Generator) -> list[View]:
        """Return the views of all generators."""
        return [view for one in self.generators for view in one(batch, rng)]

    def numbers(self, generator: int) -> range:
        """Return which of the views are those of one generator, without its negative ones.

        Args:
            generator: its number.
        """
        before = sum(one.views + one.negative_views for one in self.generators[:generator])
        return range(before, before + self.generators[generator].views)

    def negative_numbers(self, generator: int) -> range:
        """Return which of the views are the negative ones of one generator."""
        start = self.numbers(generator).stop
        return range(start, start + self.generators[generator].negative_views)
