"""How the learning rate changes over a training."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Schedule(ABC):
    """A learning rate schedule after the warm-up: a pure function of the step, so that there is no state to resume."""

    @abstractmethod
    def __call__(self, step: float, steps: float) -> float:
        """Return the factor of the peak learning rate, finite and >= 0.

        Args:
            step: steps since the end of the warm-up, >= 0; a fraction where the warm-up is a fraction of the training.
            steps: steps from the end of the warm-up to the end of the training, > `step`.
        """
