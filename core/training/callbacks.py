"""The callbacks of a training: in their order, with their errors named and their state kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from sensorium.contracts import Callback, Training
from sensorium.contracts.callback import EVENTS
from sensorium.errors import Interrupted, PluginError
from sensorium.parallel import collectives
from sensorium.registration.registry import one_line
from sensorium.types import Outcome


class Finish(NamedTuple):
    """A request to finish the training.

    Args:
        by: name of the callback.
        reason: a clause.
    """

    by: str
    reason: str

    def __str__(self) -> str:
        return f"{self.by}: {self.reason}"


class Callbacks:
    """The callbacks of one training on one rank.

    What a step calls is looked up once: `begin_step` and `end_step` are None where no callback defines their methods.

    Args:
        training: what they receive; its step and metrics are kept up to date here.
        made: name -> the callback, in the order in which they are called.
    """

    def __init__(self, training: Training, made: Mapping[str, Callback]) -> None:
        self.training, self.made = training, dict(made)
        self.finish: Finish | None = None
        self._calls: defaultdict[str, list[tuple[str, Callable[..., None]]]] = defaultdict(list)
        for name, callback in self.made.items():
            for event in EVENTS:
                if getattr(type(callback), event) is not getattr(Callback, event):
                    self._calls[event].append((name, getattr(callback, event)))
        calls = self._calls
        begins, ends = ("before_epoch", "before_step"), ("after_step", "after_epoch")
        self.begin_step = self._begin_step if calls.keys() & begins else None
        self.end_step = self._end_step if calls.keys() & ends else None

    def call(self, event: str, *args: Any) -> None:
        """Call what the callbacks do at an event, on every rank.

        Raises:
            PluginError: when one fails, with its name, method and step.
        """
        for name, method in self._calls.get(event, ()):
            try:
                method(self.training, *args)
            except Interrupted:
                raise
            except Exception as error:  # of a callback that anybody may have written
                raise PluginError(self._failed(name, event, error)) from error
            if self.training.finish_reason is not None and self.finish is None:
                self.finish = Finish(name, self.training.finish_reason)

    def _begin_step(self) -> None:
        """Call what comes before an optimizer step."""
        if self.training.step % self.training.steps_per_epoch == 0:
            self.call("before_epoch")
        self.call("before_step")

    def _end_step(self, taken: tuple[Outcome, Tensor] | None) -> None:
        """Call what comes after an optimizer step; None stands for one that was undone."""
        if taken is not None:
            self.call("after_step", *taken)
        if self.training.step % self.training.steps_per_epoch == 0:
            self.call("after_epoch")

    def agree_to_finish(self) -> Finish:
        """Return the request of the first rank that has one, on every rank; collective."""
        self.finish = next(asked for asked in collectives.all_gather_objects(self.finish) if asked is not None)
        return self.finish

    def noted(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return metrics with those that callbacks logged, which are then read; callbacks see them all."""
        logged = {name: float(value) for name, value in self.training.logged.items()}
        self.training.logged.clear()
        together = {**metrics, **logged}
        self.training.metrics.update(together)
        return together

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of them.

        Raises:
            PluginError: when a state has values that a checkpoint does not keep.
        """
        states = {}
        for name, callback in self.made.items():
            states[name] = state = callback.state_dict()
            if (other := _not_plain(state)) is not None:
                raise PluginError(
                    f"The state_dict of the callback '{name}' holds {other!r}, of type {type(other).__name__}: a "
                    "checkpoint keeps tensors, numbers, strings, None, and lists, tuples and mappings of them."
                )
        return {"states": states, "finish": None if self.finish is None else tuple(self.finish)}

    def load_state_dict(self, state: Mapping[str, Any], changed: set[str]) -> None:
        """Continue from a checkpoint; collective under distribution.

        Args:
            state: what `state_dict` returned; callbacks that it does not have begin anew.
            changed: names of those whose options are now others: whether to finish is then asked again.
        """
        for name, callback in self.made.items():
            if name in state["states"]:
                try:
                    callback.load_state_dict(state["states"][name])
                except Exception as error:
                    raise PluginError(self._failed(name, "load_state_dict", error)) from error
        if state["finish"] is not None and state["finish"][0] in self.made.keys() - changed:
            self.finish = Finish(*state["finish"])

    def _failed(self, name: str, method: str, error: Exception) -> str:
        said = f"The callback '{name}' failed in {method} at step {self.training.step}: {one_line(error)}."
        if not any((self.training.folder / "checkpoints").glob("step-*.ckpt")):
            return f"{said} There is no checkpoint yet: correct it, or take it away, and start again."
        return (
            f"{said} Checkpoints remain: once it is corrected, or taken away by callbacks.{name}=null, continue with "
            f"`sensorium train --resume {self.training.folder}`."
        )


def _not_plain(value: Any) -> Any:
    """Return the first value of a state that a checkpoint does not keep, or None."""
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple):
        return next((found for found in map(_not_plain, value) if found is not None), None)
    return None if value is None or type(value) in (bool, int, float, str) or isinstance(value, Tensor) else value
