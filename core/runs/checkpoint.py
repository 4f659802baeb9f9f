"""Checkpoints: one file each, written whole or not at all, read without running code.

A checkpoint holds the learner (teachers and queues included), the optimizer, averaged weights and the number of the
next step. Every other state of a run (data order, learning rate, random draws) is a function of that number.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from sensorium.blocks.lora import merged_weights
from sensorium.errors import RunError
from sensorium.parallel import collectives
from sensorium.runs.atomic import write_atomically

log = logging.getLogger("sensorium")
NAMED = 3
"""How many tensors a sentence names."""
_NAME = re.compile(r"step-(\d{9})\.ckpt")


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where they lie.
        keep: how many of the last to keep.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def save(self, step: int, learner: nn.Module, optimizer: torch.optim.Optimizer, extra: dict[str, Any]) -> None:
        """Write the checkpoint of `step`, the number of steps done; collective under distribution."""
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        weights, moments = get_state_dict(learner, optimizer, options=options)
        if collectives.rank() == 0:
            state = {"step": step, "learner": weights, "optimizer": moments, "extra": extra}
            write_atomically(self.path(step), lambda path: torch.save(state, path))
            self._prune()
        collectives.barrier()

    def path(self, step: int) -> Path:
        """Return where the checkpoint of `step` lies."""
        return self.folder / f"step-{step:09d}.ckpt"

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, the latest first."""
        found = (_NAME.fullmatch(path.name) for path in self.folder.glob("step-*.ckpt"))
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def mark_best(self, step: int, metric: float) -> None:
        """Mark the checkpoint of `step` as the best so far; it is never deleted while it is the best."""
        text = json.dumps({"step": step, "metric": metric})
        write_atomically(self.folder / "best.json", lambda path: path.write_text(text))

    def best(self) -> dict[str, Any] | None:
        """Return the best step and its metric, when one was marked."""
        path = self.folder / "best.json"
        return json.loads(path.read_text()) if path.exists() else None

    def forget_best(self) -> None:
        """Choose the best anew, by another metric."""
        (self.folder / "best.json").unlink(missing_ok=True)

    def latest(self) -> dict[str, Any] | None:
        """Return the latest checkpoint that can be read; those that cannot are skipped with a warning."""
        return next(self._readable(), None)

    def read(self, which: str) -> dict[str, Any]:
        """Return the checkpoint named "last", "best" or by its step number.

        Raises:
            RunError: when there is none of that name.
        """
        best = self.best()
        steps = {str(step): step for step in self.steps()}
        if best is not None:
            steps["best"] = best["step"]
        if which == "last":
            state = self.latest()
        else:
            state = (
                torch.load(self.path(steps[which]), map_location="cpu", weights_only=True) if which in steps else None
            )
        if state is None:
            raise RunError(f"{self.folder} has no checkpoint '{which}'; it has: {', '.join(steps) or 'none'}.")
        return state

    def _readable(self) -> Iterator[dict[str, Any]]:
        for step in self.steps():
            try:
                yield torch.load(self.path(step), map_location="cpu", weights_only=True)
            except Exception as error:
                log.warning(
                    "%s cannot be read (%s): the checkpoint before it is used.",
                    self.path(step),
                    str(error).splitlines()[0] if str(error) else type(error).__name__,
                )

    def _prune(self) -> None:
        best = (self.best() or {}).get("step")
        for step in self.steps()[self.keep :]:
            if step != best:
                self.path(step).unlink(missing_ok=True)


def weights_of(state: dict[str, Any]) -> dict[str, Any]:
    """Return the learner's weights of a checkpoint as evaluation uses them: averaged, when the run averages.

    Adapters are merged.
    """
    average = state["extra"].get("average")
    if average is None:
        return merged_weights(state["learner"])
    return {name.removeprefix("module."): w for name, w in average.items() if name.startswith("module.")}


def mismatch(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Return how weights differ from what a model takes: tensors that are missing, unexpected, or of another shape.

    Args:
        expected: names and tensors of the model.
        found: those of a file.
    """
    shapes = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and getattr(found[name], "shape", None) != tensor.shape
    ]
    kinds = {
        "missing": [name for name in expected if name not in found],
        "unexpected": [name for name in found if name not in expected],
        "of another shape": shapes,
    }
    said = [f"{len(names)} {kind} ({_first(names)})" for kind, names in kinds.items() if names]
    return f"of {len(expected)} tensors, {', '.join(said)}" if said else "names and shapes are equal"


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def restore(state: Mapping[str, Any], learner: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Load the weights and optimizer state of a checkpoint; a collective operation.

    Raises:
        RunError: when the checkpoint was written by another architecture.
    """
    strict = StateDictOptions(full_state_dict=True, cpu_offload=True)
    found = dict(state["learner"])  # loading adds to it
    try:
        set_model_state_dict(learner, state["learner"], options=strict)
        if state["optimizer"]["state"]:  # torch refuses that of an optimizer without any, such as SGD without momentum
            set_optimizer_state_dict(learner, optimizer, state["optimizer"], options=replace(strict, strict=False))
    except (RuntimeError, KeyError) as error:
        different = mismatch(learner.state_dict(), found)
        raise RunError(f"The checkpoint of step {state['step']} does not fit this recipe: {different}.") from error
    _drop_state_of_frozen(state, learner, optimizer)


def _drop_state_of_frozen(state: Mapping[str, Any], learner: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Delete the optimizer state that loading gave to weights without one, such as those of a frozen tower."""
    moved, known = state["optimizer"]["state"].keys(), state["learner"].keys()
    names: dict[nn.Parameter, set[str]] = {}
    for name, parameter in learner.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, set()).add(name)
    for parameter, of_it in names.items():
        if of_it <= known and not of_it & moved:
            optimizer.state.pop(parameter, None)
