"""What a checkpoint holds, whatever its format, and whether that fits a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.blocks.lora import factors_of, merged_weights

NAMED = 3
"""How many tensors a sentence names."""


class Checkpoint(ABC):
    """A checkpoint on disk, whose parts are read when they are asked for.

    Args:
        path: the file or folder.
        step: number of steps done.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path, self.step = path, step

    @abstractmethod
    def extra(self, name: str, default: Any = None) -> Any:
        """Return a part of what a training keeps beside learner and optimizer, or the default."""

    @abstractmethod
    def learner(self) -> dict[str, Tensor]:
        """Return the learner's weights and buffers, whole, on the CPU; adapters are apart."""

    @abstractmethod
    def restore(self, learner: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Load learner and optimizer, sharded or not; a collective operation under distribution.

        Raises:
            RunError: when the checkpoint was written by another architecture.
        """

    @abstractmethod
    def damage(self, rank: int = 0, ranks: int = 1) -> str | None:
        """Return which of its files was changed since it was written, as a clause; None where none was.

        Args:
            rank: who reads its share of the files.
            ranks: number of those who do.
        """

    def weights(self) -> dict[str, Tensor]:
        """Return the weights that evaluation uses: averaged, when the run averages; adapters are merged."""
        average = self.extra("average")
        if average is None:
            return merged_weights(self.learner())
        return {name.removeprefix("module."): w for name, w in average.items() if name.startswith("module.")}

    def adapters(self) -> dict[str, Tensor]:
        """Return the factors of the adapters that `weights` has merged; none where it has averaged weights."""
        return {} if self.extra("average") is not None else factors_of(self.learner())


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


def drop_state_of_frozen(
    moved: Collection[str], known: Collection[str], learner: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Delete the optimizer state that loading gave to weights without one, such as those of a frozen tower.

    Args:
        moved: names of the weights that have a state in the checkpoint.
        known: names of all its weights.
        learner: was loaded.
        optimizer: likewise.
    """
    of_checkpoint, with_state = set(known), set(moved)
    names: dict[nn.Parameter, set[str]] = {}
    for name, parameter in learner.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, set()).add(name)
    for parameter, of_it in names.items():
        if of_it <= of_checkpoint and not of_it & with_state:
            optimizer.state.pop(parameter, None)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
