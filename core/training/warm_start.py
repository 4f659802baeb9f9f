"""Warm start from the weights of another run: `train.warm_start`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from sensorium.blocks.sum import weights_of_term
from sensorium.contracts import Encoder
from sensorium.errors import RunError
from sensorium.models.frozen_teachers import FrozenTeachers
from sensorium.models.learner import Learner
from sensorium.models.plan import Plan
from sensorium.models.terms import names_of
from sensorium.recipe.parts import Part, Term, objectives_of
from sensorium.recipe.yaml_text import one_line
from sensorium.runs.checkpoint import Checkpoints
from sensorium.runs.checkpoint_contents import mismatch
from sensorium.runs.run import Run
from sensorium.weights.loading import WeightsReport, digest_of

ENCODERS, OBJECTIVE = "encoders.", "objective."


def first_learner(
    plan: Plan, start: WarmStart | None = None, adapted: bool = True, teachers: FrozenTeachers | None = None
) -> Learner:
    """Return the learner with the weights that a training begins with; `plan.started_from` then has what was loaded.

    Args:
        plan: the parts; its modalities are fitted.
        start: the warm start of its recipe, if it was read already.
        adapted: as in `Plan.learner`.
        teachers: likewise.

    Raises:
        RecipeError: when weights that a tower starts from cannot be read, or do not fit its encoder.
        RunError: the same of a warm start.
    """
    recipe = plan.recipe
    if start is None and recipe.train.warm_start is not None:
        start = WarmStart(recipe.train.warm_start)
    if start is None:
        return plan.learner(adapted=adapted, teachers=teachers)
    learner = plan.learner(start.fill, adapted=adapted, teachers=teachers)
    plan.started_from |= start.filled
    start.carry_on(learner, list(recipe.objectives().values()))
    return learner


class WarmStart:
    """Weights and vocabularies of another run, by modality name.

    Args:
        folder: the other run, finished or not; its latest checkpoint is used.

    `filled` has, by modality name, what `fill` loaded.

    Raises:
        RunError: when there is no run, or no readable checkpoint in it.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            self.run = Run.open(folder)
        except RunError as error:
            raise RunError(f"train.warm_start: {error}") from error
        checkpoint = Checkpoints(self.run.checkpoints, 1).latest()
        if checkpoint is None:
            raise RunError(f"train.warm_start: {folder} has no readable checkpoint.")
        self._weights: dict[str, Tensor] = checkpoint.weights()
        recipe = yaml.safe_load(self.run.recipe_file.read_text(encoding="utf-8"))
        self._objectives, self._towers = objectives_of(recipe["objective"]), recipe["modalities"]
        self._sharing = {name: tower["encoder"].get("share", name) for name, tower in recipe["modalities"].items()}
        self.filled: dict[str, WeightsReport] = {}

    def learned(self, modality: str) -> dict[str, Any] | None:
        """Return the fitted state of a modality of the other run, such as a vocabulary; None if it has none."""
        return self.run.kept_state(modality)

    def fill(self, encoders: dict[str, Encoder]) -> None:
        """Load weights into the encoders of modalities that the other run has too; others keep their initialization.

        Raises:
            RunError: when an encoder has another architecture, or the runs have no modality in common.
        """
        found = {name: self._under(f"{ENCODERS}{self._sharing.get(name, name)}.") for name in encoders}
        if not any(found.values()):
            raise RunError(f"train.warm_start: {self.run.folder} has none of the modalities {', '.join(encoders)}.")
        for name, weights in found.items():
            if not weights:
                continue
            try:
                encoders[name].load_state_dict(weights)
                self.filled[name] = WeightsReport(str(self.run.folder), digest_of(weights), len(weights))
            except RuntimeError as error:
                different = mismatch(encoders[name].state_dict(), weights)
                raise RunError(
                    f"train.warm_start: the encoder of '{name}' in {self.run.folder} differs from this recipe's: "
                    f"{different}. There it is {one_line(self._towers[name]['encoder'])}."
                ) from error

    def carry_on(self, learner: Learner, objectives: Sequence[Part]) -> None:
        """Load heads, teachers and temperatures into the objectives that the other run has too, by their names.

        Tensors of another shape, such as a longer queue, keep their initialization.

        Args:
            learner: whose objective is the only one, or the sum of several.
            objectives: as its recipe has them.
        """
        theirs = {key: self._under(prefix) for key, prefix in _places(self._objectives).items()}
        current, same = learner.objective.state_dict(), {}
        for key, prefix in _places(objectives).items():
            inner = prefix.removeprefix(OBJECTIVE)
            for name, weights in theirs.get(key, {}).items():
                if f"{inner}{name}" in current and current[f"{inner}{name}"].shape == weights.shape:
                    same[f"{inner}{name}"] = weights
        learner.objective.load_state_dict(same, strict=False)

    def _under(self, prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): w for name, w in self._weights.items() if name.startswith(prefix)}


def _places(objectives: Sequence[Part]) -> dict[tuple[str, str, str | None], str]:
    """Return what objectives are recognized by -> where their weights are in a learner, the start of their names."""
    is_sum = isinstance(objectives[0], Term)
    return {
        (name, part.name, part.handed_in): f"{OBJECTIVE}{weights_of_term(name)}" if is_sum else OBJECTIVE
        for name, part in zip(names_of(objectives), objectives, strict=True)
    }
