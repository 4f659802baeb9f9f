"""Values in place of `auto` in a recipe, once the size of the data is known."""

from __future__ import annotations

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

    An option of the objective that is in its `auto` and that the recipe leaves out is auto too.
    """
    recipe, cls = plan.recipe, plan.objective.cls
    found: dict[str, Any] = {}
    options = {name: rule(scale) for name, rule in cls.auto.items() if name not in plan.objective.options}
    found |= {f"objective.{name}": value for name, value in options.items()}
    asked = plan.optimization
    plan.optimization = asked.resolved(scale)
    found |= {f"optimizer.{name}": value for name, value in plan.optimization.changes(asked).items()}
    plan.objective = plan.objective.with_options(**{**plan.objective.options, **options})
    plan.recipe = recipe.model_copy(
        update={
            "objective": recipe.objective.model_copy(update=options),
            "optimizer": plan.optimization.settings,
        }
    )
    return found
