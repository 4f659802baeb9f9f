"""Values in place of `auto` in a recipe, once the size of the data is known."""

from __future__ import annotations

from typing import Any

from sensorium.models.plan import Plan
from sensorium.recipe.schema import Optimizer
from sensorium.types import TrainingSize

BASE_LRS = {"adamw": 1e-3, "sgd": 0.06, "lars": 0.3}
"""Optimizer -> learning rate for a batch of 256."""
WARM_STEPS = 100


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
    optimizer = {name: value for name, value in _optimizer(recipe.optimizer, scale).items() if value is not None}
    found |= {f"optimizer.{name}": value for name, value in optimizer.items()}
    plan.objective = plan.objective.with_options(**{**plan.objective.options, **options})
    plan.recipe = recipe.model_copy(
        update={
            "objective": recipe.objective.model_copy(update=options),
            "optimizer": recipe.optimizer.model_copy(update=optimizer),
        }
    )
    return found


def _optimizer(options: Optimizer, scale: TrainingSize) -> dict[str, float | None]:
    """Return lr and warm-up where they are auto: linear in the batch, for adamw by its root (Malladi et al. 2022)."""
    ratio = scale.batch / 256
    lr = BASE_LRS[options.name] * (ratio**0.5 if options.name == "adamw" else ratio)
    warm = min(max(WARM_STEPS / scale.steps, 0.05), 0.3)
    return {
        "lr": float(f"{lr:.3g}") if options.lr == "auto" else None,
        "warmup": float(f"{warm:.3g}") if options.warmup == "auto" else None,
    }
