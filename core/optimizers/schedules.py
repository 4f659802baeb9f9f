"""Learning rate schedules: factors of the peak learning rate after the warm-up."""

from __future__ import annotations

import math
from typing import Literal

from sensorium.contracts import Schedule
from sensorium.errors import check_range


class Cosine(Schedule):
    """Half a cosine from the peak to a minimum (SGDR without restarts, Loshchilov & Hutter 2017, eq. 5).

    Args:
        min_lr_ratio: final learning rate, as a fraction of the peak, 0 to 1.
    """

    def __init__(self, min_lr_ratio: float = 0.0) -> None:
        check_range("schedule 'cosine'", "[0, 1]", min_lr_ratio=min_lr_ratio)
        self.min_lr_ratio = min_lr_ratio

    def __call__(self, step, steps):
        """Return the factor."""
        return self.min_lr_ratio + (1 - self.min_lr_ratio) * 0.5 * (1 + math.cos(math.pi * (step / steps)))


class Constant(Schedule):
    """The peak learning rate to the end."""

    def __call__(self, step, steps):
        """Return 1."""
        return 1.0


class Linear(Schedule):
    """Linear from the peak to a minimum; to zero it is the better end of a training of known length (D2Z).

    Defazio et al. 2023; Bergsma et al. 2025.

    Args:
        min_lr_ratio: final learning rate, as a fraction of the peak, 0 to 1.
    """

    def __init__(self, min_lr_ratio: float = 0.0) -> None:
        check_range("schedule 'linear'", "[0, 1]", min_lr_ratio=min_lr_ratio)
        self.min_lr_ratio = min_lr_ratio

    def __call__(self, step, steps):
        """Return the factor."""
        return 1 - (1 - self.min_lr_ratio) * step / steps


class InverseSqrt(Schedule):
    """Inverse square root of the step (Vaswani et al. 2017, sec. 5.3; Zhai et al. 2022).

    It does not depend on the length of the training: a run may be continued to more steps.

    Args:
        timescale: steps after the warm-up at which the learning rate is 1/sqrt(2) of the peak, >= 1.
    """

    def __init__(self, timescale: int = 10_000) -> None:
        check_range("schedule 'inverse-sqrt'", "[1, inf)", timescale=timescale)
        self.timescale = timescale

    def __call__(self, step, steps):
        """Return the factor."""
        return 1 / math.sqrt(1 + step / self.timescale)


class WSD(Schedule):
    """Warm-up, stable, decay: the peak learning rate, then a decay over the last steps (Hu et al. 2024, MiniCPM).

    Until the decay begins, nothing depends on the length of the training: a run is continued from a checkpoint of the
    stable phase to more steps, as if it had been given them at its start. About 0.2 of the steps with the shape 1-sqrt
    is as good as cosine (Hägele et al. 2024).

    Args:
        decay: length of the decay: a fraction of the steps after the warm-up, in (0, 1), or a number of steps, >= 1.
        shape: of the decay: linear, 1-sqrt (one minus the root of its progress) or cosine.
        min_lr_ratio: final learning rate, as a fraction of the peak, 0 to 1.
    """

    def __init__(
        self,
        decay: float | int = 0.2,
        shape: Literal["linear", "1-sqrt", "cosine"] = "1-sqrt",
        min_lr_ratio: float = 0.0,
    ) -> None:
        check_range("schedule 'wsd'", "(0, inf)", decay=decay)
        check_range("schedule 'wsd'", "[0, 1]", min_lr_ratio=min_lr_ratio)
        self.decay, self.shape, self.min_lr_ratio = decay, shape, min_lr_ratio

    def __call__(self, step, steps):
        """Return the factor."""
        length = self.decay * steps if self.decay < 1 else min(self.decay, steps)
        done = 1 - (steps - step) / length
        if done <= 0:
            return 1.0
        falls = {"linear": done, "1-sqrt": math.sqrt(done), "cosine": 0.5 * (1 - math.cos(math.pi * done))}
        return 1 - (1 - self.min_lr_ratio) * falls[self.shape]
