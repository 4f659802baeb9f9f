import pytest

from sensorium.callbacks.early_stopping import EarlyStopping
from sensorium.errors import RecipeError
from tests.core.contracts.test_callback import training


def run(values, metric="knn/accuracy", **options):
    """Return the training and callback after evaluations with these values of a metric, one every 10 steps."""
    seen, stopping = training(), EarlyStopping(metric, **options)
    for value in values:
        seen.step += 10
        stopping.after_evaluation(seen, {} if value is None else {metric: value})
        if seen.finish_reason:
            break
    return seen, stopping


@pytest.mark.parametrize(
    ("values", "options", "step"),
    [
        ([0.1, 0.2, 0.2, 0.2], {"patience": 2}, 40),
        ([0.1, 0.2, 0.1, 0.3, 0.1, 0.1], {"patience": 2}, 60),
        ([0.1, 0.2, 0.3], {"patience": 1}, None),
        ([0.1, 0.15, 0.19], {"patience": 2, "min_delta": 0.1}, 30),
        ([0.3, 0.2, 0.1], {"patience": 1, "mode": "min"}, None),
        ([0.1, None, None, 0.1, 0.1], {"patience": 2}, 50),
        ([float("nan"), float("nan")], {"patience": 2}, 20),
        ([float("nan"), 0.1, 0.2], {"patience": 2}, None),
    ],
)
def test_it_finishes_after_evaluations_without_improvement(values, options, step):
    seen, _ = run(values, **options)
    assert (seen.step if seen.finish_reason else None) == step


def test_the_reason_names_metric_patience_and_best():
    assert run([0.1, 0.81, 0.8, 0.8, 0.8])[0].finish_reason == (
        "knn/accuracy has not risen for 3 evaluations (best 0.81 at step 20)"
    )
    assert run([2.0, 2.0], metric="ridge/RMSE ↓", patience=1)[0].finish_reason == (
        "ridge/RMSE ↓ has not fallen for 1 evaluation (best 2 at step 10)"
    )


def test_its_state_continues_unless_the_metric_is_another():
    _, before = run([0.1, 0.5, 0.4])
    same, other = EarlyStopping("knn/accuracy"), EarlyStopping("linear/accuracy")
    for one in (same, other):
        one.load_state_dict(before.state_dict())
    assert (same.best, same.best_step, same.waited) == (0.5, 20, 1)
    assert (other.best, other.waited) == (None, 0)


@pytest.mark.parametrize("options", [{"patience": 0}, {"min_delta": -0.1}])
def test_its_options_are_in_their_range(options):
    with pytest.raises(RecipeError, match=f"'{next(iter(options))}' of the callback 'early-stopping' must be at least"):
        EarlyStopping("knn/accuracy", **options)
