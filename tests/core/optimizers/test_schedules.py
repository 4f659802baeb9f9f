import math

import pytest

from sensorium.errors import RecipeError
from sensorium.optimizers.schedules import WSD, Constant, Cosine, InverseSqrt, Linear

ALL = [Cosine(), Constant(), Linear(), InverseSqrt(20), WSD(), WSD(10, "linear"), WSD(0.5, "cosine", 0.1)]


@pytest.mark.parametrize("schedule", ALL, ids=lambda schedule: type(schedule).__name__)
def test_a_schedule_begins_at_the_peak_and_never_rises(schedule):
    factors = [schedule(step, 100) for step in range(100)]
    assert factors[0] == 1
    assert factors == sorted(factors, reverse=True)
    assert min(factors) >= 0


def test_each_ends_where_it_says():
    ends = [schedule(100, 100) for schedule in (Cosine(0.1), Linear(0.2), WSD(0.3, min_lr_ratio=0.4), Constant())]
    assert ends == pytest.approx([0.1, 0.2, 0.4, 1.0])
    assert Cosine()(50, 100) == pytest.approx(0.5)
    assert InverseSqrt(50)(50, 100) == pytest.approx(1 / math.sqrt(2))


@pytest.mark.parametrize(("shape", "half"), [("linear", 0.5), ("1-sqrt", 1 - math.sqrt(0.5)), ("cosine", 0.5)])
def test_wsd_is_stable_and_then_decays_in_its_shape(shape, half):
    for schedule in (WSD(0.2, shape), WSD(20, shape)):
        assert [schedule(step, 100) for step in (0, 40, 80)] == [1.0, 1.0, 1.0]
        assert schedule(90, 100) == pytest.approx(half)
        assert schedule(100, 100) == pytest.approx(0, abs=1e-12)
    assert WSD(500, shape)(0, 100) == 1.0, "a decay that is longer than the training is all of it"


def test_the_stable_phase_knows_no_length():
    assert {WSD()(70, steps) for steps in (100, 1000, 10_000)} == {1.0}
    assert {InverseSqrt()(70, steps) for steps in (100, 1000)} == {1 / math.sqrt(1.007)}


@pytest.mark.parametrize(
    "make",
    [lambda: Cosine(1.5), lambda: Linear(-1), lambda: InverseSqrt(0), lambda: WSD(0), lambda: WSD(0.1, "linear", 2)],
)
def test_options_out_of_range_are_told(make):
    with pytest.raises(RecipeError, match=r"schedule '.*' must be"):
        make()
