"""What feeds the steps of a run: the loader of its train part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from sensorium.contracts import Source
from sensorium.data.loader import Loader
from sensorium.data.mined_negatives import MinedNegatives
from sensorium.data.patience import Patience
from sensorium.models.cut import Cutter
from sensorium.models.learner import Absent, Views, make_views, views_without_rows
from sensorium.models.plan import Plan
from sensorium.seeding import generator, seed_globals, seed_of


def absent_views(plan: Plan, loader: Loader, device: torch.device) -> dict[str, Absent]:
    """Return what stands for each modality that a batch, or a part of it, may lack, for `make_views`.

    Of a single modality every record of a batch has a value; it may lack mined negatives.
    """
    recipe, mined = plan.recipe, loader.mined
    several = len(plan.modalities) > 1
    return {
        name: views_without_rows(
            views,
            loader.example(name),
            mined.get(name, 0),
            generator(recipe.seed, "views without rows", device=device),
            plan.descriptors.get(name, 0),
        )
        for name, views in plan.generators.items()
        if several or name in mined
    }


def cutter(plan: Plan, loader: Loader, ranks: int) -> Cutter | None:
    """Return what tells the parts of a step from its whole batch; None where a batch is not cut."""
    if ranks * plan.recipe.train.accumulate == 1:
        return None
    return Cutter({name: loader.example(name) for name in plan.generators}, loader.mined)


def first_views(plan: Plan, source: Source, positions: np.ndarray, count: int, **place: Any) -> Iterator[Views]:
    """Iterate over views of so many records of the train part, drawn by the seed, batch by batch.

    Args:
        plan: the parts of the recipe.
        source: where the records come from.
        positions: which of its records are the train part.
        count: number of records, all of them where there are fewer.
        place: as for `feed`.
    """
    seed, device = plan.recipe.seed, torch.device(place["device"])
    drawn = np.random.default_rng(seed_of("fit", seed)).permutation(positions)[:count]
    batch = min(plan.recipe.data.batch, len(drawn))
    data = plan.recipe.data.model_copy(update={"batch": batch, "negatives": None, "neighbors": None})
    train = plan.recipe.train.model_copy(update={"accumulate": 1})
    plan = replace(plan, recipe=plan.recipe.model_copy(update={"data": data, "train": train}))
    loader = feed(plan, source, drawn, **place)
    absent = absent_views(plan, loader, device)
    for step, (records,) in enumerate(loader.batches(0, loader.steps_per_epoch)):
        seed_globals(seed, "fit", step)
        yield make_views(records, plan.generators, generator(seed, "fit", step, device=device), absent)


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
        require="all" if plan.takes_towers_as_views else "any",
        negatives=negatives,
        order=recipe.data.order.name,
        window=recipe.data.order.window,
        neighbors=recipe.data.neighbors,
        described=plan.described,
        patience=Patience(recipe.data.retries, recipe.data.timeout),
        keys=plan.record_keys,
        **place,
    )
