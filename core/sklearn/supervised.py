"""Encoders that are fine-tuned on labels, few or many, as a classifier and a regressor of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, check_consistent_length, check_is_fitted, column_or_1d

from sensorium.sklearn.kept_run import KeptRun
from sensorium.sklearn.records import read_records
from sensorium.sklearn.training import RecipeLike, as_value_errors, fields_of, learn_labels, pretrain, seed_of_state


class _Supervised(BaseEstimator):
    """What classifier and regressor have in common."""

    recipe: RecipeLike
    overrides: Sequence[str]
    run: str | Path | None
    device: str
    random_state: Any

    def fit(self, X: Any, y: Any) -> Self:
        """Train on X, and on the labels, or numbers, y.

        Raises:
            ValueError: for records, labels or a recipe that cannot be trained on, in one sentence.
        """
        with as_value_errors():
            values = read_records(self, X, fields_of(self.recipe, self.overrides, self.run), fitting=True)
            y_N, known_N = _labels_of(self, y, values)
            labels = np.full(len(y_N), None, object)
            targets_M, task = self._targets(y_N[known_N])
            labels[known_N] = targets_M.tolist()
            self._learn(values, labels.tolist(), task)
        return self

    def _targets(self, y_M: np.ndarray) -> tuple[np.ndarray, Mapping[str, Any]]:
        """Return what is learned for each record with a label, (M,), and `finetune.task`."""
        raise NotImplementedError

    def _learn(self, values: Mapping[str, Any], labels: Sequence[Any], task: Mapping[str, Any]) -> None:
        """Pretrain on all values, or start from a run, and fine-tune on those that have a label."""
        seed = seed_of_state(self.random_state)
        with TemporaryDirectory() as folder:
            run, place = self.run, Path(folder)
            if run is None:
                run = pretrain(self.recipe, self.overrides, values, seed, place)
            tuned = learn_labels(Path(run), self.overrides, values, labels, task, seed, self.device, place)
            self.kept_ = KeptRun(tuned, self.device)

    def _predicted(self, X: Any) -> list[Any]:
        check_is_fitted(self)
        with as_value_errors():
            predictor = self.kept_.predictor
            fields = predictor.model.plan.fields
            values = read_records(self, X, list(fields.values()), fitting=False)
            return predictor.predict(values[fields[predictor.modality]])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.target_tags.required = True
        return tags


class SSLClassifier(ClassifierMixin, _Supervised):
    """Trains an encoder on all records, without labels, and fine-tunes it with a head on those that have one.

    X is as for `SSLTransformer`. In y, None or nan stands for no label: few labels among many records are used as such.

    Args:
        recipe: as in `sensorium.fit`; the default reads rows of numbers as time series. Its `finetune` says how labels
            are learned.
        overrides: `key.sub=value` texts, such as "train.steps=500" or "finetune.epochs=20".
        run: the folder of a run that is trained already, from whose encoder fine-tuning starts.
        class_weight: weight of each class in the loss, 1 for those that are not named, or "balanced".
        device: where labels are learned and records are predicted, as in `sensorium.load`.
        random_state: seed of both trainings; None draws one.

    Attributes:
        classes_: the classes, sorted.
        n_features_in_: number of columns of X.
        kept_: the fine-tuned run.
    """

    def __init__(
        self,
        recipe: RecipeLike = "ts2vec",
        overrides: Sequence[str] = (),
        *,
        run: str | Path | None = None,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        device: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.recipe, self.overrides, self.run, self.class_weight = recipe, overrides, run, class_weight
        self.device, self.random_state = device, random_state

    def _targets(self, y_M: np.ndarray) -> tuple[np.ndarray, Mapping[str, Any]]:
        check_classification_targets(y_M)
        self.classes_, codes_M = np.unique(y_M, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__} needs two classes or more, and y has one class.")
        return codes_M, {"name": "classification", "class_weights": self._weights()}

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, float64 (N, C), calibrated as `finetune.calibrate` says."""
        rows = [[p_of[code] for code in range(len(self.classes_))] for p_of in self._predicted(X)]
        p_NC = np.array(rows, np.float64)
        return p_NC / p_NC.sum(1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each record."""
        p_NC = self.predict_proba(X)
        return self.classes_[p_NC.argmax(1)]

    def _weights(self) -> dict[str, float] | str | None:
        """Return the weights by the codes of classes, which `finetune.task` knows them by."""
        if self.class_weight is None or isinstance(self.class_weight, str):
            return self.class_weight
        codes = {name: code for code, name in enumerate(self.classes_.tolist())}
        return {str(codes[name]): float(weight) for name, weight in self.class_weight.items() if name in codes}


class SSLRegressor(RegressorMixin, _Supervised):
    """As `SSLClassifier`, for a number.

    Args:
        recipe: as for `SSLClassifier`.
        overrides: as for `SSLClassifier`.
        run: as for `SSLClassifier`.
        device: as for `SSLClassifier`.
        random_state: as for `SSLClassifier`.

    Attributes:
        n_features_in_: number of columns of X.
        kept_: the fine-tuned run.
    """

    def __init__(
        self,
        recipe: RecipeLike = "ts2vec",
        overrides: Sequence[str] = (),
        *,
        run: str | Path | None = None,
        device: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.recipe, self.overrides, self.run = recipe, overrides, run
        self.device, self.random_state = device, random_state

    def _targets(self, y_M: np.ndarray) -> tuple[np.ndarray, Mapping[str, Any]]:
        return y_M.astype(np.float64), {"name": "regression"}

    def predict(self, X: Any) -> np.ndarray:
        """Return a number for each record, float64 (N,)."""
        return np.array(self._predicted(X), np.float64)


def _labels_of(estimator: Any, y: Any, values: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (N,), and which there are, bool (N,)."""
    if y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None.")
    y_N = column_or_1d(y, warn=True)
    check_consistent_length(next(iter(values.values())), y_N)
    if y_N.dtype.kind == "f":
        known_N = ~np.isnan(y_N)
    else:
        known_N = np.array([cell is not None and str(cell) != "<NA>" and cell == cell for cell in y_N.tolist()], bool)
    if not known_N.any():
        raise ValueError("y has no label.")
    if y_N.dtype == object:
        y_N = y_N.copy()
        typed = np.array(y_N[known_N].tolist())
        if typed.dtype.kind in "iufb":  # numbers among which a label is missing
            whole = np.zeros(len(y_N), typed.dtype)
            whole[known_N] = typed
            y_N = whole
    assert_all_finite(y_N[known_N], input_name="y")
    return y_N, known_N
