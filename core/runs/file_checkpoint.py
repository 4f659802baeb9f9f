"""A checkpoint that is one file of torch, written by rank 0 and read without running code."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from sensorium.errors import RunError
from sensorium.parallel import collectives
from sensorium.runs.atomic import write_atomically
from sensorium.runs.checkpoint_contents import Checkpoint, drop_state_of_frozen, mismatch

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def file_writer(
    path: Path, step: int, learner: nn.Module, optimizer: torch.optim.Optimizer, extra: Mapping[str, Any], copies: bool
) -> Callable[[], None]:
    """Return what writes a checkpoint, without another collective operation; calling this function is one.

    Args:
        path: the file.
        step: number of steps done.
        learner: what is trained.
        optimizer: its optimizer.
        extra: what a training keeps beside them.
        copies: whether training goes on while it is written, so that nothing may be shared with it.
    """
    weights, moments = get_state_dict(learner, optimizer, options=WHOLE)
    if collectives.rank() != 0:
        return lambda: None
    state = {"step": step, "learner": weights, "optimizer": moments, "extra": dict(extra)}
    if copies:
        state = _copied(state)
    return partial(write_atomically, path, partial(torch.save, state))


class FileCheckpoint(Checkpoint):
    """A checkpoint that is one file; its tensors are mapped into memory, and read where they are used.

    Raises:
        Exception: of whatever kind, when the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        super().__init__(path, self._state["step"])

    def extra(self, name: str, default: Any = None) -> Any:
        """Read a part beside learner and optimizer."""
        return self._state["extra"].get(name, default)

    def learner(self) -> dict[str, torch.Tensor]:
        """Return the learner's weights."""
        return dict(self._state["learner"])

    def damage(self, rank: int = 0, ranks: int = 1) -> str | None:
        """Compare checksums."""
        if rank != 0 or not zipfile.is_zipfile(self.path):
            return None
        try:
            with zipfile.ZipFile(self.path) as parts:
                damaged = parts.testzip()
        except (OSError, zipfile.BadZipFile) as error:
            return str(error)
        return None if damaged is None else "the checksum of a part of it is another"

    def restore(self, learner: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Load learner and optimizer; collective."""
        found, moments = self.learner(), self._state["optimizer"]
        try:
            set_model_state_dict(learner, dict(found), options=WHOLE)  # which adds to it
            if moments["state"]:  # torch refuses that of an optimizer without any, such as SGD without momentum
                set_optimizer_state_dict(learner, optimizer, moments, options=replace(WHOLE, strict=False))
        except (RuntimeError, KeyError) as error:
            different = mismatch(learner.state_dict(), found)
            raise RunError(f"The checkpoint of step {self.step} does not fit this recipe: {different}.") from error
        drop_state_of_frozen(moments["state"].keys(), found.keys(), learner, optimizer)


def _copied(value: Any) -> Any:
    """Return a nested state with copies of its tensors on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(each) for each in value)
    return value
