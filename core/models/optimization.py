"""The optimizer of a recipe, and the learning rate of each of its steps."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from sensorium.errors import PluginError, RecipeError
from sensorium.models.given import stand_in
from sensorium.recipe.parts import Part
from sensorium.recipe.schema import Optimizer
from sensorium.registration.options import check_options
from sensorium.registration.registry import FILLED, Registry
from sensorium.types import TrainingSize

WARM_STEPS = 100
"""Length of the warm-up that stands for `auto`."""
MUST_TAKE = ("lr", "weight_decay")
"""Arguments that every optimizer has, beside the learner, its first."""


@dataclass(frozen=True)
class Optimization:
    """Makes an optimizer, and knows the learning rate of each of its steps: warm-up, then a schedule.

    Args:
        settings: name, learning rate, weight decay and warm-up, a section of a recipe.
        make: function of (learner, lr, weight_decay, **options) that returns the optimizer.
        options: the optimizer's own, checked.
        schedule: steps since the end of the warm-up, and their number -> factor of the peak learning rate.
        path: of the settings in the recipe, for errors.
    """

    settings: Optimizer
    make: Callable[..., torch.optim.Optimizer]
    options: Mapping[str, Any]
    schedule: Callable[[float, float], float]
    path: str = "optimizer"

    def optimizer(
        self, learner: nn.Module, fused: bool = False, factors: Mapping[int, float] | None = None
    ) -> torch.optim.Optimizer:
        """Return the optimizer of a learner's trainable parameters, which are on their device.

        Args:
            learner: what is trained.
            fused: whether an optimizer that can is to take its step in one kernel, on CUDA.
            factors: of the learning rates of parameters, by their identity; others have the full rate.

        Raises:
            PluginError: when the function returns no optimizer, or one that leaves parameters out.
        """
        given = {"lr": self.settings.lr, "weight_decay": self.settings.weight_decay, "fused": fused, **self.options}
        made = self.make(learner, **{key: value for key, value in given.items() if self._takes(key)})
        if not isinstance(made, torch.optim.Optimizer):
            raise PluginError(f"{self._what} returned {made!r}, which is no torch.optim.Optimizer.")
        held = {id(weight) for group in made.param_groups for weight in group["params"]}
        trained = {id(weight): name for name, weight in learner.named_parameters() if weight.requires_grad}
        if left_out := [name for key, name in trained.items() if key not in held]:
            raise PluginError(
                f"{self._what} leaves out {len(left_out)} of {len(trained)} parameters ({left_out[0]}): its groups "
                "must hold every parameter of the learner that requires a gradient."
            )
        if held - trained.keys():
            raise PluginError(
                f"{self._what} holds {len(held - trained.keys())} parameters that are not trained, such as those of a "
                "teacher or a frozen tower: take those that require a gradient."
            )
        split_groups(made, factors or {})
        return made

    def lr_at(self, step: int, steps: int, peak: float) -> float:
        """Return the learning rate of optimizer step `step` (from 0) of `steps`: linear warm-up, then the schedule."""
        warm = float(self.settings.warmup)  # a number: `training.auto` resolved `auto`
        warm = warm * steps if warm < 1 else warm
        if step < warm:
            return peak * (step + 1) / (math.floor(warm) + 1)
        return peak * self.schedule(step - warm, max(steps - warm, 1))

    def resolved(self, size: TrainingSize) -> Optimization:
        """Return the same with values in place of `auto`, those of options that the optimizer declares included.

        Raises:
            RecipeError: when the learning rate is auto, and the optimizer has no rule for it.
        """
        rules = {"warmup": warmup, **getattr(self.make, "auto", {})}
        said = {"lr": self.settings.lr, "warmup": self.settings.warmup, **self.options}
        if said["lr"] == "auto" and "lr" not in rules:
            raise RecipeError(
                f"{self.path}.lr is auto, but the optimizer '{self.settings.name}' has no rule for it: give a number."
            )
        found = {key: rule(size) for key, rule in rules.items() if said.get(key, "auto") == "auto"}
        found |= {key: float(f"{found[key]:.3g}") for key in ("lr", "warmup") if key in found}
        own = {key: value for key, value in found.items() if key not in ("lr", "warmup")}
        return replace(self, settings=self.settings.model_copy(update=found), options={**self.options, **own})

    def changes(self, before: Optimization) -> dict[str, Any]:
        """Return the values that took the place of `auto`, by key."""
        old, new = before.settings.model_dump(), self.settings.model_dump()
        return {key: value for key, value in new.items() if key not in old or old[key] != value}

    def with_lr(self, lr: float) -> Optimization:
        """Return the same with another peak learning rate."""
        return replace(self, settings=self.settings.model_copy(update={"lr": lr}))

    def _takes(self, key: str) -> bool:
        return key != "fused" or key in inspect.signature(self.make).parameters

    @property
    def _what(self) -> str:
        return f"The optimizer '{self.settings}'"


def split_groups(optimizer: torch.optim.Optimizer, factors: Mapping[int, float]) -> None:
    """Split the groups of a new optimizer, whatever it is, so that each has one learning rate.

    The new groups keep the options of theirs; `lr_scale` is the factor that their learning rate has in `lr`.

    Args:
        optimizer: whose groups have their peak learning rates.
        factors: of the learning rates of parameters, by their identity; others keep theirs.
    """
    groups: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        by_factor: dict[float, list[Any]] = {}
        for parameter in group["params"]:
            by_factor.setdefault(factors.get(id(parameter), 1.0), []).append(parameter)
        groups += [
            {**group, "params": parameters}
            | ({} if factor == 1.0 else {"lr": group["lr"] * factor, "lr_scale": factor})
            for factor, parameters in by_factor.items()
        ]
    optimizer.param_groups[:] = groups  # in place: an optimizer around another one shares the list


def warmup(size: TrainingSize) -> float:
    """Return the warm-up that stands for `auto`, as a fraction of the steps: 100 of them, but 0.05 to 0.3."""
    return min(max(WARM_STEPS / size.steps, 0.05), 0.3)


def make_optimization(settings: Optimizer, registry: Registry, path: str) -> Optimization:
    """Look up and check optimizer and schedule of a section of a recipe.

    Args:
        settings: the section.
        registry: where they are looked up.
        path: its key, for errors.

    Raises:
        PluginError: for a name that is not registered, and an optimizer that does not take what all do.
        RecipeError: for options that they do not have, and a schedule that gives no learning rate.
    """
    if settings.handed_in is not None:
        given = registry.given.get(path) or stand_in("optimizers", path, settings.handed_in)
        return Optimization(settings, given.make, {}, make_schedule(settings.schedule, registry, path), path)
    make = registry.find("optimizers", settings.name).load()
    taken = list(inspect.signature(make).parameters)
    if lacking := [name for name in MUST_TAKE if name not in taken[1:]]:
        raise PluginError(
            f"The optimizer '{settings.name}' must be a function of (learner, lr, weight_decay, ...), but it does not "
            f"take {' and '.join(lacking)}."
        )
    options = check_options(make, settings.options, path, skip=FILLED["optimizers"], name=settings.name)
    return Optimization(settings, make, options, make_schedule(settings.schedule, registry, path), path)


def make_schedule(part: Part, registry: Registry, owner: str) -> Callable[[float, float], float]:
    """Return a learning rate schedule, tried at some steps.

    Args:
        part: its name and options.
        registry: where it is looked up.
        owner: key of the optimizer, for errors.

    Raises:
        PluginError: for a name that is not registered.
        RecipeError: for options that it does not have, and when it gives no learning rate.
    """
    path = f"{owner}.schedule"
    if part.handed_in is not None:
        if path not in registry.given:
            return stand_in("schedules", path, part.handed_in).make
        schedule = registry.given[path].make()
    else:
        cls = registry.find("schedules", part.name).load()
        schedule = cls(**check_options(cls, part.options, path, name=part.name))
    for step, steps in ((0, 100), (50, 100), (99, 100), (0, 1)):
        factor = schedule(step, steps)
        if not (isinstance(factor, int | float) and 0 <= factor < math.inf):
            raise RecipeError(
                f"{path}: '{part}' gives the factor {factor!r} at step {step} of {steps}: it must be a number, finite "
                "and at least 0."
            )
    return schedule
