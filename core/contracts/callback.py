"""What is called at the events of a training, and what it sees of the training."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.errors import PluginError, not_found
from sensorium.types import Outcome

CPU = torch.device("cpu")


@dataclass
class Training:
    """What a callback sees of a training, on each rank. A test of a callback makes one itself.

    Args:
        learner: encoders, objective and its heads, teachers and queues; sharded under strategy fsdp.
        optimizer: its optimizer.
        steps: number of optimizer steps that are planned.
        steps_per_epoch: steps of one pass over the train part, >= 1.
        step: number of steps done.
        device: where this rank computes.
        rank: of this process, from 0.
        world_size: number of ranks, >= 1.
        folder: the run folder.
        recipe: the resolved recipe as plain values.
        metrics: the latest value of every metric so far, the same on every rank: of the log, such as "loss", and of
            evaluations on the val part, "val/TABLE/METRIC".
    """

    learner: nn.Module
    optimizer: torch.optim.Optimizer
    steps: int
    steps_per_epoch: int = 1
    step: int = 0
    device: torch.device = CPU
    rank: int = 0
    world_size: int = 1
    folder: Path = Path()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    finish_reason: str | None = field(default=None, init=False)
    """Why the training is to finish, as `finish` was told; None while it goes on."""
    logged: dict[str, float | Tensor] = field(default_factory=dict, init=False)
    """What `log` was given since the last line of metrics."""

    @property
    def epoch(self) -> float:
        """Passes over the train part that are done, fractions included."""
        return self.step / self.steps_per_epoch

    def finish(self, reason: str) -> None:
        """Finish the training after this step as after its last one: with evaluation, checkpoint and model.

        One rank that asks finishes all. The first reason counts.

        Args:
            reason: a clause for the log and `run.json`, such as "knn/accuracy has not risen for 3 evaluations".
        """
        self.finish_reason = self.finish_reason or reason

    def log(self, metrics: Mapping[str, float | Tensor]) -> None:
        """Add metrics to the next line of the log (every `log.every` steps); the values of rank 0 are written.

        Args:
            metrics: name -> number, or tensor with one element on any device, which is read with the line and not
                before.
        """
        self.logged.update(metrics)


class Callback:
    """Called at the events of a training; every method does nothing unless a subclass defines it.

    Methods are called on every rank, those of several callbacks in the order of the recipe, before and after alike.
    What they see is the same on every rank but for outcome and loss of a step, which are those of the rank's own
    records; a random draw from torch's global generators changes the training. A method that raises ends the training,
    its checkpoints remain.

    A public method that begins with `on_`, `before_` or `after_` and is none of these is an error, since nothing would
    ever call it. A method that is not defined costs nothing.
    """

    needs_metrics: Sequence[str] = ()
    """Metrics of evaluations on the val part, as TABLE/METRIC, that it reads: a name that no evaluator measures, or a
    recipe without `evaluate.every`, is then an error before the training."""

    def before_training(self, training: Training) -> None:
        """Do something before the first step, or the first one after a resume, behind `load_state_dict`."""

    def after_training(self, training: Training) -> None:
        """Do something after the last step, its evaluation and checkpoint; not after an error or a signal."""

    def before_epoch(self, training: Training) -> None:
        """Do something before the first step of each pass over the train part."""

    def after_epoch(self, training: Training) -> None:
        """Do something after the last step of each whole pass over the train part."""

    def before_step(self, training: Training) -> None:
        """Do something before an optimizer step; `training.step` steps are done."""

    def after_step(self, training: Training, outcome: Outcome, loss: Tensor) -> None:
        """Do something after an optimizer step; not after one that was undone, its loss or gradient not being finite.

        Args:
            training: `training.step` steps are done, this one included.
            outcome: what the objective returned, of the last part when gradients are accumulated; its tensors are on
                the device: reading a value of theirs waits for it.
            loss: mean over the parts, a scalar on the device, detached.
        """

    def before_evaluation(self, training: Training) -> None:
        """Do something before an evaluation on the val part during the training."""

    def after_evaluation(self, training: Training, metrics: Mapping[str, float]) -> None:
        """Do something after an evaluation on the val part.

        Args:
            training: `training.step` steps are done.
            metrics: TABLE/METRIC -> value, the same on every rank; without those of an evaluator that failed.
        """

    def before_checkpoint(self, training: Training) -> None:
        """Do something before a checkpoint is written, and before `state_dict` is asked for it."""

    def after_checkpoint(self, training: Training, path: Path) -> None:
        """Do something after a checkpoint is written, which is later than its step where training goes on meanwhile.

        Args:
            training: `training.step` steps are done.
            path: the file.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training needs.

        Its values are tensors, numbers, strings, None, and lists, tuples and mappings of them. That of rank 0 is kept
        in every checkpoint.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; called on every rank before `before_training`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check_methods(cls)


EVENTS = tuple(name for name in vars(Callback) if name.startswith(("before_", "after_")))
"""The methods of a callback that a training calls."""


def check_methods(cls: type[Callback]) -> None:
    """Check that the methods of a callback are those of the contract, with its arguments.

    Raises:
        PluginError: one sentence with the method, and the nearest one that there is.
    """
    for name in dir(cls):
        if not name.startswith(("on_", "before_", "after_")) or not callable(getattr(cls, name)):
            continue
        who = f"The callback {cls.__module__}.{cls.__qualname__}"
        if name not in EVENTS:
            problem = f"{who} has a method '{name}', which no training calls"
            raise PluginError(not_found(problem, name, EVENTS, f"there are: {', '.join(EVENTS)}"))
        wanted = list(inspect.signature(getattr(Callback, name)).parameters)
        if not _takes(getattr(cls, name), len(wanted)):
            given = ", ".join(inspect.signature(getattr(cls, name)).parameters)
            raise PluginError(f"{who}: its method {name}({given}) must take ({', '.join(wanted)}).")


def _takes(method: Callable[..., Any], count: int) -> bool:
    """Whether a function can be called with so many arguments."""
    try:
        inspect.signature(method).bind(*[None] * count)
    except TypeError:
        return False
    return True
