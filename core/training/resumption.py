"""What a resumed training continues from, and what of its recipe may have changed meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from sensorium.errors import RecipeError, RunError
from sensorium.parallel import collectives
from sensorium.recipe.merging import ENTRIES, leaves, merged, numbered_alike
from sensorium.recipe.reading import read_recipe, validate
from sensorium.recipe.schema import Recipe
from sensorium.recipe.yaml_text import one_line
from sensorium.registration.given import GIVEN
from sensorium.registration.registry import Registry
from sensorium.runs.checkpoint import Checkpoints, warn_of_unreadable
from sensorium.runs.checkpoint_contents import Checkpoint
from sensorium.runs.run import Run
from sensorium.training.learning_rate import LearningRate
from sensorium.weights.loading import WeightsReport

CHANGEABLE = (
    *("train.epochs", "train.steps"),
    *("train.accelerator", "train.devices", "train.nodes", "train.strategy", "train.compile"),
    *("train.gradient_checkpointing", "train.timeout"),
    *("train.precision", "train.matmul_precision", "train.deterministic"),
    *(
        "data.workers",
        "data.cache",
        "data.cache_dir",
        "data.max_bad",
        "data.retries",
        "data.timeout",
        "data.source.path",
        "data.source.root",
    ),
    *("checkpoint", "evaluate", "monitor", "callbacks", "finetune", "log", "plugins"),
)
"""Keys of a recipe, or whole sections, that a resumed training may change: none of them decides what is learned but
its length, and where the records lie is told from which they are (`sensorium.runs.records`)."""


@dataclass(frozen=True)
class Resumption:
    """A checkpoint to continue from, and the recipe to continue with.

    Args:
        checkpoint: the latest that can be read.
        recipe: the run's, with what was changed.
        changed: recipe key -> its value before and now.
        steps: number of steps that the training was to have; None if the run does not say.
        unreadable: the steps of later checkpoints, which cannot be read.
    """

    checkpoint: Checkpoint
    recipe: Recipe
    changed: Mapping[str, tuple[Any, Any]]
    steps: int | None
    unreadable: Sequence[int] = ()

    @property
    def step(self) -> int:
        """The number of steps done."""
        return self.checkpoint.step

    def check_teachers(self, now: Mapping[str, WeightsReport]) -> None:
        """Check that frozen teachers, which no checkpoint has, are those that the training was begun with.

        Args:
            now: modality name -> what was loaded.

        Raises:
            RecipeError: when one has other weights.
        """
        for name, digest in self.checkpoint.extra("teachers", {}).items():
            if now[name].digest != digest:
                raise RecipeError(
                    f"The frozen teacher of '{name}' ({now[name].where}) is not the one that the training was begun "
                    f"with: its weights have changed (hash {now[name].digest[:8]}, then {digest[:8]}). Name a copy of "
                    f"the old ones by modalities.{name}.teacher.weights."
                )

    def notes(self, lr: LearningRate) -> list[str]:
        """Return what changed as sentences.

        Args:
            lr: that of the training, for the number of steps that it has now.

        Raises:
            RecipeError: when it has fewer than are done.
        """
        found = [
            f"the checkpoint of step {step} cannot be read: the checkpoint before it is used"
            for step in self.unreadable
        ]
        found += [f"{key} is now {_said(now)} (before: {_said(before)})" for key, (before, now) in self.changed.items()]
        steps = lr.steps
        if steps < self.step:
            raise RecipeError(
                f"The training is to have {steps} steps, but {self.step} are done: raise train.epochs or train.steps."
            )
        if self.steps is not None and steps != self.steps:
            before, now = (lr.optimization.lr_at(self.step, total, lr.peak) for total in (self.steps, steps))
            rate = f"stays {now:.3g}" if before == now else f"is {now:.3g} instead of {before:.3g}"
            found.append(
                f"{self.steps} steps become {steps}, and whatever follows the progress of the training follows the "
                f"new total: from step {self.step} on the learning rate {rate}"
            )
        return found


def resumption(
    run: Run,
    recipe: Recipe | Mapping[str, Any] | str | Path | None,
    overrides: Sequence[str],
    registry: Registry,
    before: int | None = None,
) -> Resumption:
    """Return what a run continues from, and with which recipe; `undamaged` then compares checksums.

    Args:
        run: the run folder.
        recipe: the recipe as the caller has it; None takes the run's own.
        overrides: `key.sub=value` texts, of that recipe.
        registry: has the shipped recipes.
        before: only checkpoints of fewer steps.

    Raises:
        RunError: when the run has no checkpoint that can be read.
        RecipeError: when anything was changed that a resumed training cannot change.
    """
    checkpoints = Checkpoints(run.checkpoints, 1)
    checkpoint = checkpoints.latest(before, checked=False)
    if checkpoint is None:
        found = ", ".join(str(step) for step in checkpoints.steps())
        problem = f"none of its checkpoints (of step {found}) can be read" if found else "it has no checkpoint"
        raise RunError(
            f"{run.folder} cannot be resumed, since {problem}: put a copy of one back into {run.checkpoints}, or start "
            "the run anew in another folder."
        )
    begun = checkpoint.extra("recipe")
    trained = None if begun is None else validate(begun, f"the checkpoint of step {checkpoint.step}")
    resolved, changed = recipe_now(run, recipe, overrides, registry, trained)
    unreadable = [step for step in checkpoints.steps() if step > checkpoint.step]
    return Resumption(checkpoint, resolved, changed, run.status().get("steps"), unreadable)


def undamaged(resumed: Resumption, again: Callable[[int], Resumption]) -> Resumption:
    """Return a resumption whose checkpoint has the checksums that were written with it; collective.

    Every rank reads a part of the files.

    Args:
        resumed: from the latest checkpoint.
        again: returns a resumption from one of fewer steps than the number that it receives.
    """
    while True:
        damages = collectives.all_gather_objects(resumed.checkpoint.damage(*collectives.world()))
        damage = next((found for found in damages if found is not None), None)
        if damage is None:
            return resumed
        if collectives.rank() == 0:
            warn_of_unreadable(resumed.checkpoint.path, damage)
        resumed = again(resumed.step)


def recipe_now(
    run: Run,
    recipe: Recipe | Mapping[str, Any] | str | Path | None,
    overrides: Sequence[str],
    registry: Registry,
    before: Recipe | None = None,
) -> tuple[Recipe, dict[str, tuple[Any, Any]]]:
    """Return the recipe that a run goes on with, and recipe key -> its value before and now.

    Args:
        run: the run folder.
        recipe: as in `resumption`.
        overrides: as in `resumption`.
        registry: has the shipped recipes.
        before: the recipe that it was trained with; None for the one in the folder.

    Raises:
        RecipeError: when anything was changed that a resumed training cannot change.
    """
    kept = read_recipe(run.recipe_file, registry)
    if recipe is None:
        resolved = read_recipe(run.recipe_file, registry, overrides)
    else:
        resolved = read_recipe(_over(kept, read_recipe(recipe, registry, overrides)), registry)
    changed = differences(before or kept, resolved)
    if refused := {key: values for key, values in changed.items() if not _may_change(key)}:
        raise RecipeError(_refusal(run, refused))
    return resolved, changed


def differences(before: Recipe, now: Recipe) -> dict[str, tuple[Any, Any]]:
    """Return recipe key -> its value in two recipes, for those where they differ; None where one has no such key."""
    old, new = (dict(leaves(plain)) for plain in numbered_alike(before.plain(), now.plain()))
    return {key: (old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)}


def _over(kept: Recipe, given: Recipe) -> dict[str, Any]:
    """Return a run's recipe with that of a caller over it; a run knows which value stands for `auto`."""

    def numbers_only(values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            key: numbers_only(value) if isinstance(value, Mapping) else value
            for key, value in values.items()
            if value != "auto"
        }

    said, _ = numbered_alike(given.plain(), kept.plain())
    if (given.data.order.name, kept.data.order.name) == ("shuffled", "randperm"):  # what it was called by default
        del said["data"]["order"]
    return merged(_without_taken(kept.plain(), given.plain()), numbers_only(said))


def _without_taken(kept: Mapping[str, Any], given: Mapping[str, Any], above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a recipe without the entries (towers, evaluators) that another does not have.

    Objects that were handed in stay: their caller hands them in beside the recipe.
    """
    left = {}
    for key, value in kept.items():
        is_object = isinstance(value, Mapping) and value.get("name") == GIVEN
        if above in ENTRIES and key not in given and not is_object:
            continue
        inner = given.get(key)
        both = isinstance(value, Mapping) and isinstance(inner, Mapping)
        left[key] = _without_taken(value, inner, (*above, str(key))) if both else value  # type: ignore[arg-type]
    return left


def _may_change(key: str) -> bool:
    is_place = key.startswith("modalities.") and key.endswith(".teacher.weights")  # which they are, their hash tells
    return is_place or any(key == allowed or key.startswith(f"{allowed}.") for allowed in CHANGEABLE)


def _refusal(run: Run, refused: Mapping[str, tuple[Any, Any]]) -> str:
    changes = ", ".join(f"{key} ({_said(before)} -> {_said(now)})" for key, (before, now) in refused.items())
    words = " ".join(quote(f"{key}={_said(now)}") for key, (_, now) in refused.items())
    return (
        f"A resumed training goes on as it was begun, so it cannot change {changes}; it can change "
        f"{', '.join(CHANGEABLE)}. To train on from these weights with another recipe, start a new run: "
        f"`sensorium train {run.recipe_file} {words} train.warm_start={run.folder}`."
    )


def _said(value: Any) -> str:
    return one_line(value)
