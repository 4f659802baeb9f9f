import time

import pytest

from sensorium.callbacks.time_limit import TimeLimit
from sensorium.errors import RecipeError
from tests.core.contracts.test_callback import training


@pytest.fixture
def clock(monkeypatch):
    """Seconds that the clock shows; a test sets them."""
    shown = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: shown[0])
    return shown


def test_it_finishes_when_the_time_has_passed_resumes_included(clock):
    first, limit = training(), TimeLimit(hours=1, minutes=30)
    clock[0] += 500  # before the training: not counted
    limit.before_training(first)
    clock[0] += 5000
    limit.after_step(first, None, None)
    assert first.finish_reason is None
    resumed, seen = TimeLimit(hours=1, minutes=30), training()
    resumed.load_state_dict(limit.state_dict())
    clock[0] += 10_000  # between the processes
    resumed.before_training(seen)
    clock[0] += 399
    resumed.after_step(seen, None, None)
    assert seen.finish_reason is None
    clock[0] += 1
    resumed.after_step(seen, None, None)
    assert seen.finish_reason == "90 minutes of training have passed"


@pytest.mark.parametrize("options", [{}, {"hours": -1.0}, {"hours": 1.0, "minutes": -1.0}])
def test_it_needs_a_time(options):
    with pytest.raises(RecipeError, match=r"^The callback 'time-limit' needs hours or minutes above 0, not hours="):
        TimeLimit(**options)
