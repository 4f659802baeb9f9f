"""Values in place of `auto` in a recipe, once the size of the data is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sensorium.models.plan import Plan
from sensorium.types import TrainingSize


def training_size(plan: Plan, records: int) -> TrainingSize:
    """Return the scale of a training on so many records of the train part."""
    recipe = plan.recipe
    epoch = max(records // recipe.data.batch, 1)
    steps = recipe.train.steps or max(round((recipe.train.epochs or 0) * epoch), 1)
    return TrainingSize(records, recipe.data.batch, steps)


def resolve(plan: Plan, scale: TrainingSize) -> dict[str, Any]:
    """Replace every `auto` of a plan with a value; return the values by their recipe key.

    An option of an objective that is in its `auto` and that the recipe leaves out is auto too. One that starts later
    has a training of the steps that are left.
    """
    recipe = plan.recipe
    found: dict[str, Any] = {}
    objectives, terms = [], []
    for term in plan.terms:
        size = replace(scale, steps=max(round(scale.steps * (1 - term.start)), 1))
        options = {name: rule(size) for name, rule in term.make.cls.auto.items() if name not in term.make.options}
        found |= {f"{term.key}.{name}": value for name, value in options.items()}
        objectives.append(term.part.model_copy(update=options))
        terms.append(replace(term, part=objectives[-1], make=term.make.with_options(**options)))
    plan.terms = terms
    asked = plan.optimization
    plan.optimization = asked.resolved(scale)
    found |= {f"optimizer.{name}": value for name, value in plan.optimization.changes(asked).items()}
    plan.recipe = recipe.model_copy(
        update={
            "objective": objectives if isinstance(recipe.objective, list) else objectives[0],
            "optimizer": plan.optimization.settings,
        }
    )
    return found
