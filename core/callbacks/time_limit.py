"""A limit of the time that a training takes."""

from __future__ import annotations

import time

from sensorium.contracts import Callback
from sensorium.errors import RecipeError


class TimeLimit(Callback):
    """Finishes a training, with evaluation, after some time; what a resumed run took before its checkpoint counts.

    Its first step and evaluations during the training count; loading data before it, and the final evaluation, do not.

    Args:
        hours: of training, >= 0; added to the minutes.
        minutes: of training, >= 0.
    """

    def __init__(self, hours: float = 0.0, minutes: float = 0.0) -> None:
        self.limit = 3600 * hours + 60 * minutes
        if not (hours >= 0 and minutes >= 0 and self.limit > 0):
            raise RecipeError(
                f"The callback 'time-limit' needs hours or minutes above 0, not hours={hours} and minutes={minutes}."
            )
        self.taken = 0.0
        self._since = time.monotonic()

    def before_training(self, training):
        """Start the clock."""
        self._since = time.monotonic()

    def after_step(self, training, outcome, loss):
        """Look at the clock."""
        if self._seconds() >= self.limit:
            training.finish(f"{self.limit / 60:g} minutes of training have passed")

    def _seconds(self) -> float:
        return self.taken + time.monotonic() - self._since

    def state_dict(self):
        """Return the time that the training took so far."""
        return {"seconds": self._seconds()}

    def load_state_dict(self, state):
        """Count on."""
        self.taken = state["seconds"]
