"""Early stopping."""

from __future__ import annotations

from typing import Literal

from sensorium.contracts import Callback
from sensorium.errors import check_range


class EarlyStopping(Callback):
    """Finishes a training whose metric on the val part no longer improves; needs `evaluate.every`.

    The model is that of the last step, as without it; with `checkpoint.best` of the same metric, the best checkpoint
    is kept beside it. The learning rate schedule is that of all steps that are planned, not of those that are taken.
    A metric that could not be measured does not count.

    Args:
        metric: as TABLE/METRIC, such as knn/accuracy.
        patience: evaluations in a row without an improvement after which the training finishes, >= 1.
        min_delta: how much better than the best a metric must be to count as an improvement, >= 0.
        mode: whether the metric is to rise (max) or to fall (min); auto: fall if its name ends in "↓".
    """

    def __init__(
        self, metric: str, patience: int = 3, min_delta: float = 0.0, mode: Literal["auto", "max", "min"] = "auto"
    ) -> None:
        check_range("callback 'early-stopping'", "[1, inf)", patience=patience)
        check_range("callback 'early-stopping'", "[0, inf)", min_delta=min_delta)
        self.metric, self.patience, self.min_delta = metric, patience, min_delta
        self.falls = mode == "min" or (mode == "auto" and metric.endswith("↓"))
        self.needs_metrics = (metric,)
        self.best: float | None = None
        self.best_step, self.waited = 0, 0

    def after_evaluation(self, training, metrics):
        """Compare the metric with the best so far."""
        value = metrics.get(self.metric)
        if value is None:
            return
        if self._is_better(value):
            self.best, self.best_step, self.waited = value, training.step, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            count = f"{self.waited} evaluation{'s' * (self.waited > 1)}"
            best = "no value is a number" if self.best is None else f"best {self.best:.4g} at step {self.best_step}"
            training.finish(f"{self.metric} has not {'fallen' if self.falls else 'risen'} for {count} ({best})")

    def _is_better(self, value: float) -> bool:
        if self.best is None:
            return value == value  # not nan
        return value < self.best - self.min_delta if self.falls else value > self.best + self.min_delta

    def state_dict(self):
        """Return the best value so far and the evaluations since."""
        return {"metric": self.metric, "best": self.best, "best_step": self.best_step, "waited": self.waited}

    def load_state_dict(self, state):
        """Continue; another metric begins anew."""
        if state["metric"] == self.metric:
            self.best, self.best_step, self.waited = state["best"], state["best_step"], state["waited"]
