"""A training reduced to what one optimizer step needs, for tests and measurements of steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning_fabric import Fabric

from sensorium.contracts import ViewGenerator
from sensorium.models.learner import Learner
from sensorium.models.optimization import make_optimization
from sensorium.models.plan import Plan
from sensorium.recipe.schema import Recipe
from sensorium.registration.discovery import load_extensions
from sensorium.training.finite_guard import Guard
from sensorium.training.learning_rate import LearningRate
from sensorium.training.state import TrainingState


@contextmanager
def bare_training(
    fabric: Fabric,
    learner: Learner,
    generators: Mapping[str, ViewGenerator],
    steps: int,
    backend: str | None = None,
    **optimizer: Any,
) -> Iterator[TrainingState]:
    """Yield a training of a learner that has no run folder, no loader and no evaluation: `take_step` takes its steps.

    Args:
        fabric: of one process; the learner is moved to its device.
        learner: with its first weights.
        generators: modality name -> view generator.
        steps: of the learning rate schedule.
        backend: of `torch.compile`; None leaves the learner as it is.
        optimizer: options of the recipe's `optimizer`.
    """
    part = {"name": "bare"}
    recipe = Recipe.model_validate(
        {
            "data": {"batch": 1},
            "modalities": {name: {"views": part, "encoder": part} for name in generators},
            "objective": part,
            "train": {"steps": steps},
            "optimizer": optimizer,
        }
    )
    made: Any = None
    registry = load_extensions().registry
    plan = Plan(
        recipe,
        {},
        dict(generators),
        {},
        made,
        {},
        None,
        make_optimization(recipe.optimizer, registry, "optimizer"),
        made,
        made,
    )
    whole: Any = learner if backend is None else torch.compile(learner, backend=backend)
    module = fabric.setup_module(whole)
    adapted: Any = fabric.setup_optimizers(plan.optimization.optimizer(learner))
    with TemporaryDirectory() as folder:
        guard = Guard(fabric, learner, adapted.optimizer, Path(folder), steps, 0)
        lr = LearningRate(adapted.optimizer, plan.optimization, steps)
        parts: Any = (
            plan,
            made,
            fabric,
            learner,
            module,
            adapted,
            None,
            made,
            {},
            None,
            made,
            made,
            made,
            guard,
            lr,
            made,
        )
        yield TrainingState(*parts, steps)
