"""Mutants of callbacks."""

import torch

from sensorium import Callback
from tests.core.testing.mutants import caught_by


class Counts(Callback):
    """Counts the steps."""

    def __init__(self):
        self.count = 0

    def after_step(self, training, outcome, loss):
        self.count += 1

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


@caught_by("resumes from its state")
class ForgetsItsCount(Counts):
    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


@caught_by("resumes from its state")
class TakesNothingBack(Counts):
    def load_state_dict(self, state):
        pass


@caught_by("leaves the random state alone")
class Seeds(Counts):
    def before_step(self, training):
        torch.manual_seed(0)


@caught_by("leaves the random state alone")
class Draws(Counts):
    def after_step(self, training, outcome, loss):
        super().after_step(training, outcome, loss)
        torch.rand(1)
