"""What feeds the steps of a run: the loader of its train part."""

from __future__ import annotations

from typing import Any

import numpy as np

from sensorium.contracts import Source
from sensorium.data.loader import Loader
from sensorium.data.mined_negatives import MinedNegatives
from sensorium.models.plan import Plan


def feed(plan: Plan, source: Source, positions: np.ndarray, **place: Any) -> Loader:
    """Return what feeds the steps of a run on one rank: the same records wherever, and however often, it is made.

    Args:
        plan: the parts of the recipe.
        source: where records come from.
        positions: which of its records are the train part.
        place: what `Loader` needs to know of the process that it feeds, and of its unreadable records.
    """
    recipe, negatives = plan.recipe, None
    if recipe.data.negatives is not None:
        negatives = MinedNegatives(source, recipe.data.negatives.path, recipe.data.negatives.count)
        negatives.keep_within(positions)
    return Loader(
        source,
        positions,
        plan.fields,
        plan.modalities,
        seed=recipe.seed,
        batch=recipe.data.batch,
        accumulate=recipe.train.accumulate,
        stages=plan.generators,
        require="any",
        negatives=negatives,
        neighbors=recipe.data.neighbors,
        **place,
    )
