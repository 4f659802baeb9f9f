"""What the progress of a training says."""

import pytest

from sensorium.training import progress
from sensorium.training.progress import FirstSteps


@pytest.fixture
def said(monkeypatch, caplog):
    """Take steps of given durations, and return what was said of them."""
    caplog.set_level("INFO")

    def take(*seconds, total, done=0):
        clock = [0.0]
        monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
        first_steps = FirstSteps(total, done)
        for step, duration in enumerate(seconds, done + 1):
            clock[0] += duration
            first_steps.after(step)
        return [record.getMessage() for record in caplog.records]

    return take


def test_slow_first_steps_are_told_with_the_hours_to_go_and_what_to_lower(said):
    first, warning = said(90, 12, 11, 13, 12, 12, total=5_000)
    assert first == "The first step took 90 s, with what is done once; at that rate 4,999 steps take 125.0 hours."
    assert warning.startswith("A step takes 12 s: about 16.7 hours to go for 4,996 steps. To lower: train.epochs")


def test_nothing_is_said_of_quick_steps(said):
    assert said(2, 0.1, 0.1, 0.1, 0.1, total=50_000) == []


def test_a_resumed_training_counts_the_steps_that_are_left(said):
    assert "for 96 steps" in said(1, 900, 900, 900, total=5_000, done=4_900)[0]
