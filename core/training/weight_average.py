"""The moving average of the weights of a training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sensorium.blocks.lora import merged_copy, merged_parameters
from sensorium.models.learner import Learner


class WeightAverage:
    """An exponential moving average of a learner's weights, with the learner's own buffers.

    It differs from torch's `AveragedModel` in that a step asks the device for nothing and copies no buffer (a queue
    may be large): buffers are taken when the average is read. Low-rank adapters are merged in it, as in a teacher.

    Args:
        learner: on the CPU, before it is wrapped.
        decay: weight of the average against the new weights, 0 to 1; the first update copies.
        device: where the average is kept.
    """

    def __init__(self, learner: Learner, decay: float, device: torch.device) -> None:
        self._averaged: Learner = merged_copy(learner).to(device)
        self._averaged.teachers.update(learner.teachers)  # frozen ones, of which no second copy is kept
        self._learner, self.decay, self._updates = learner, decay, 0

    @torch.no_grad()
    def update(self) -> None:
        """Add the learner's weights of this step."""
        averaged, new = list(self._averaged.parameters()), merged_parameters(self._learner)
        if self._updates:
            torch._foreach_lerp_(averaged, new, 1 - self.decay)
        else:
            torch._foreach_copy_(averaged, new)
        self._updates += 1

    @torch.no_grad()
    def read(self) -> Learner:
        """Return the learner with averaged weights."""
        new = dict(self._learner.named_buffers())
        for name, own in self._averaged.named_buffers():
            own.copy_(new[name])
        return self._averaged

    def state_dict(self) -> dict[str, Tensor]:
        """Return its state, under the names of torch's `AveragedModel`."""
        weights = {f"module.{name}": tensor for name, tensor in self.read().state_dict().items()}
        return {"n_averaged": torch.tensor(self._updates), **weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state."""
        weights = {name.removeprefix("module."): tensor for name, tensor in state.items() if name != "n_averaged"}
        self._averaged.load_state_dict(weights)
        self._updates = int(state["n_averaged"])
