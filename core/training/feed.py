"""What feeds the steps of a run: the loader of its train part."""

from __future__ import annotations

from typing import Any

import numpy as np

from sensorium.contracts import Source
from sensorium.data.loader import Loader
from sensorium.data.mined_negatives import MinedSource
from sensorium.models.plan import Plan


def feed(plan: Plan, source: Source, positions: np.ndarray, **place: Any) -> tuple[Loader, dict[str, str]]:
    """Return what feeds the steps of a run on one rank: the same records wherever, and however often, it is made.

    Args:
        plan: the parts of the recipe.
        source: where records come from.
        positions: which of its records are the train part.
        place: what `Loader` is told of the process that it feeds, and of its bad records.

    Returns:
        The loader, and the fields of mined negatives, each with the modality whose values they hold.
    """
    recipe, negatives = plan.recipe, dict[str, str]()
    if recipe.data.negatives is not None:
        source = MinedSource(source, recipe.data.negatives.path, recipe.data.negatives.count)
        source.keep_within(positions)
        negatives = source.negatives(plan.fields)
    loader = Loader(
        source,
        positions,
        plan.fields | {name: name for name in negatives},
        plan.modalities | {name: plan.modalities[of] for name, of in negatives.items()},
        seed=recipe.seed,
        batch=recipe.data.batch,
        accumulate=recipe.train.accumulate,
        stages=plan.generators | {name: plan.generators[of] for name, of in negatives.items()},
        require="any",
        neighbors=recipe.data.neighbors,
        **place,
    )
    return loader, negatives
