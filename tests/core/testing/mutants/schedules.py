"""Mutants of schedules."""

from sensorium import Schedule
from tests.core.testing.mutants import caught_by


class Falls(Schedule):
    """Falls linearly."""

    def __call__(self, step, steps):
        return 1 - step / steps


@caught_by("gives finite factors")
class FallsBelowZero(Falls):
    def __call__(self, step, steps):
        return 1 - 2 * step / steps


@caught_by("is a function of the step")
class Remembers(Falls):
    def __init__(self):
        self.last = 1.0

    def __call__(self, step, steps):
        self.last *= 0.99
        return self.last
