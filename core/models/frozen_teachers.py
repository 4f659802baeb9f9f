"""Frozen teachers: encoders whose features an objective learns to predict, and that are no part of what is trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, Self

import torch
from torch import Tensor

from sensorium.contracts import Encoder, Modality
from sensorium.errors import RecipeError
from sensorium.recipe.parts import Part
from sensorium.recipe.reading import read_recipe
from sensorium.recipe.schema import FrozenTeacher
from sensorium.recipe.yaml_text import one_line
from sensorium.registration.options import options_of
from sensorium.registration.registry import Registry
from sensorium.runs.run import Run
from sensorium.types import Batch
from sensorium.weights.files import RANDOM, folder_of
from sensorium.weights.loading import WeightsReport, digest_of, load_weights


class FrozenTeachers(dict[str, Encoder]):
    """Frozen encoders by modality name, in evaluation mode.

    It is no module: a learner that has it trains none of its weights, and they are in no checkpoint. Neither are they
    wrapped for DDP or sharded for FSDP: every rank has them whole.

    Args:
        encoders: modality name -> encoder.
    """

    def __init__(self, encoders: Mapping[str, Encoder]) -> None:
        super().__init__(encoders)
        for encoder in self.values():
            encoder.requires_grad_(False).eval()

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """Replace every weight and buffer by what the function makes of it, such as the same on another device."""
        for encoder in self.values():
            encoder._apply(function)

    def to(self, device: torch.device | str) -> Self:
        """Move the weights; returns the teachers themselves."""
        for encoder in self.values():
            encoder.to(device)
        return self


class AbsentTeacher(Encoder):
    """Stands for a frozen teacher where a run is read without it: it knows its widths alone.

    Args:
        modality: its name.
        noted: the teacher as the run's recipe has it.
    """

    def __init__(self, modality: str, noted: FrozenTeacher) -> None:
        super().__init__()
        self._modality, self._token_dim = modality, noted.token_dim or noted.dim or 0
        self.dim, self.grid = noted.dim or 0, noted.grid

    @property
    def token_dim(self) -> int:
        """Width of the teacher's tokens."""
        return self._token_dim

    def forward(self, batch: Batch) -> NoReturn:
        """Say that there is no teacher."""
        raise RecipeError(
            f"The frozen teacher of '{self._modality}' is there while its run is trained: this model was opened "
            "without it."
        )


def with_sizes(teacher: FrozenTeacher, encoder: Encoder) -> FrozenTeacher:
    """Return a teacher of a recipe with the widths of its encoder noted, as an `AbsentTeacher` will have them."""
    sizes = {"dim": encoder.dim, "token_dim": encoder.token_dim, "grid": encoder.grid}
    return teacher.model_copy(update=sizes)


@dataclass(frozen=True)
class TeacherRun:
    """The tower of a run that a frozen teacher comes from.

    Args:
        folder: the run folder.
        modality: the part that its values are read by.
        encoder: its encoder.
        state: what its modality learned.
    """

    folder: str
    modality: Part
    encoder: Part
    state: Mapping[str, Any]

    @classmethod
    def find(cls, name: str, teacher: FrozenTeacher, registry: Registry) -> Self | None:
        """Return the tower of the run that a teacher's weights are of; None where they are of no run.

        Args:
            name: the modality that is taught; of a run with one tower that one is meant, whatever its name.
            teacher: as the recipe has it.
            registry: has the shipped recipes, one of which may be the base of the run's.

        Raises:
            RecipeError: when the run has several towers, and none of that name.
        """
        folder = Path(teacher.weights or "").expanduser()
        if teacher.weights is None or not (folder / "recipe.yaml").exists():
            return None
        run = Run.open(folder)
        recipe = read_recipe(run.recipe_file, registry)
        names = list(recipe.modalities)
        if name not in names and len(names) > 1:
            raise RecipeError(
                f"modalities.{name}.teacher: {folder} has encoders of {', '.join(names)}, but none of '{name}'."
            )
        chosen = name if name in names else names[0]
        tower = recipe.tower(chosen)
        state = run.kept_state(recipe.sharing[chosen]) or {}
        assert tower.modality is not None, "it is spelled out"
        return cls(str(folder), tower.modality, Part.model_validate(tower.encoder.model_dump()), state)

    def state_for(self, modality: Modality) -> dict[str, Any] | None:
        """Return what the run's modality learned, for one that has yet to learn; None where there is nothing."""
        return None if modality.is_fitted else dict(self.state) or None

    def check_state(self, name: str, state: Mapping[str, Any]) -> None:
        """Check that the modality of the training has learned the same as that of the run, such as a vocabulary.

        Args:
            name: the modality that is taught.
            state: what it has learned.

        Raises:
            RecipeError: when it has not: the teacher would read other inputs than those that it was trained on.
        """
        if json.loads(json.dumps(state)) != self.state:
            raise RecipeError(
                f"modalities.{name}.teacher: the modality '{name}' has learned other things from its data (a "
                f"vocabulary, a scale) than that of {self.folder}, so the teacher would misread its inputs: start from "
                f"the same data, or from that run by train.warm_start={self.folder}."
            )


def encoder_of_run(
    name: str, teacher: FrozenTeacher, run: TeacherRun | None, modality: Part, registry: Registry
) -> Part:
    """Return the encoder of a teacher whose recipe names weights alone: that of the run that they are of.

    Args:
        name: the modality that is taught.
        teacher: as the recipe has it.
        run: the run, if the weights are of one.
        modality: the part that the recipe reads the values by.
        registry: has its options.

    Raises:
        RecipeError: when they are of no run, or of one that reads its values otherwise.
    """
    key = f"modalities.{name}.teacher"
    if run is None and teacher.weights is not None:
        try:
            folder_of(teacher.weights)
        except RecipeError as error:
            raise RecipeError(f"{key}: {error}") from error
    if run is None:
        raise RecipeError(
            f"{key} names the weights {teacher.weights} and no encoder, and only a run tells its own: name the encoder "
            f"that they are of by {key}.encoder, or the folder of a run."
        )
    if differences := _differences(run.modality, modality, registry):
        raise RecipeError(
            f"{key}: {run.folder} was trained on values that its modality reads otherwise ({differences}): write "
            f"modalities.{name}.modality as there, or name encoder and weights apart, by {key}.encoder and "
            f"{key}.weights, for a teacher that is made for this modality."
        )
    if run.encoder.handed_in is not None:
        raise RecipeError(
            f"{key}: the encoder of {run.folder}, a {run.encoder.handed_in}, was handed in to its training, and a run "
            f"does not keep how such a one is made: register its class by sensorium.register, and name it by "
            f"{key}.encoder beside the weights."
        )
    return run.encoder


def _differences(there: Part, here: Part, registry: Registry) -> str:
    """Return how two modalities differ, in words; "" if they do not."""
    if (here.name, here.handed_in) != (there.name, there.handed_in):
        return f"{there} there, {here} here"
    if here.handed_in is not None:
        return ""
    options = options_of(registry.find("modalities", here.name).load())
    pairs = {o.name: (there.options.get(o.name, o.default), here.options.get(o.name, o.default)) for o in options}
    return "; ".join(f"{name} is {one_line(a)} there, {one_line(b)} here" for name, (a, b) in pairs.items() if a != b)


def load_teacher(encoder: Encoder, name: str, teacher: FrozenTeacher) -> WeightsReport:
    """Load the weights of a frozen teacher; return what was loaded, with a hash of all of its weights.

    Args:
        encoder: the teacher, with random weights.
        name: the modality that is taught.
        teacher: as the recipe has it.

    Raises:
        RecipeError: when it has none, or they cannot be read or do not fit it.
    """
    where, key = teacher.weights or encoder.own_weights, f"modalities.{name}.teacher.weights"
    if where is None:
        raise RecipeError(
            f"{key} is missing, and a teacher with random weights teaches nothing: name a run, a file or a folder; "
            f"{RANDOM} says that random ones are meant."
        )
    report = WeightsReport(RANDOM, "", 0) if where == RANDOM else load_weights(encoder, where, name, key)
    return replace(report, digest=digest_of(encoder.state_dict()))
