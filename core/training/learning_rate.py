"""The learning rate of every step."""

from __future__ import annotations

import torch

from sensorium.models.optimization import Optimization


class LearningRate:
    """Sets the learning rate of an optimizer's groups, each by its own peak: the one that it was made with.

    As a function of the step it has no state to resume.

    Args:
        optimizer: new, its groups with their peak learning rates.
        optimization: what it was made by.
        steps: of the whole training.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, optimization: Optimization, steps: int) -> None:
        self.optimizer, self.optimization, self.steps = optimizer, optimization, steps
        self.peaks = [float(group["lr"]) for group in optimizer.param_groups]
        first = optimizer.param_groups[0]
        self.peak = self.peaks[0] / first.get("lr_scale", 1.0)

    def set(self, step: int) -> None:
        """Set that of optimizer step `step`, from 0."""
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = self.optimization.lr_at(step, self.steps, peak)

    def at(self, step: int) -> float:
        """Return that of the first group at a step, before it decays by layer."""
        return self.optimization.lr_at(step, self.steps, self.peak)
