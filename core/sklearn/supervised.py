"""Encoders that are fine-tuned on labels, few or many, as a classifier and a regressor of scikit-learn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from sensorium.errors import BadSample, DataError
from sensorium.evaluation.labels import choose_column
from sensorium.finetuning.predictor import Predictor
from sensorium.sklearn.kept_run import KeptRun
from sensorium.sklearn.labels import read_labels
from sensorium.sklearn.records import has_value, read_records, require_values
from sensorium.sklearn.training import (
    RecipeLike,
    as_value_errors,
    learn_labels,
    passing_folder,
    plan_of,
    pretrain,
    require_folds,
    seed_of_state,
)


class _Supervised(ABC):
    """What classifier and regressor have in common."""

    recipe: RecipeLike
    overrides: Sequence[str]
    run: str | Path | None
    device: str
    random_state: Any
    kept_: KeptRun
    _measure: ClassVar[Callable[..., float]]

    def fit(self, X: Any, y: Any) -> Self:
        """Train on X, and on the labels, or numbers, y.

        Raises:
            ValueError: for records, labels or a recipe that cannot be trained on, in one sentence.
        """
        with as_value_errors():
            plan = plan_of(self.recipe, self.overrides, self.run)
            choose_column("modality", plan.recipe.finetune.modality, list(plan.modalities), "finetune.modality")
            values = read_records(self, X, list(plan.fields.values()), fitting=True)
            if y is None:
                raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
            y_N, known_N = read_labels(y)
            check_consistent_length(next(iter(values.values())), y_N)
            known_N &= has_value(values)
            targets_M, task = self._targets(y_N[known_N])
            classes = len(np.unique(targets_M)) if task["name"] == "classification" else None
            require_folds(int(known_N.sum()), classes, plan)
            labels = np.full(len(y_N), None, object)
            labels[known_N] = targets_M.tolist()
            self._learn(values, labels.tolist(), task)
        return self

    @abstractmethod
    def _targets(self, y_M: np.ndarray) -> tuple[np.ndarray, Mapping[str, Any]]:
        """Return what is learned for each record with a label, (M,), and `finetune.task`."""

    def _learn(self, values: Mapping[str, Any], labels: Sequence[Any], task: Mapping[str, Any]) -> None:
        """Pretrain on all values, or start from a run, and fine-tune on those that have a label."""
        seed = seed_of_state(self.random_state)
        with passing_folder() as place:
            run = self.run
            if run is None:
                run = pretrain(self.recipe, self.overrides, values, seed, place)
            tuned = learn_labels(Path(run), self.overrides, values, labels, task, seed, self.device, place)
            self.kept_ = KeptRun(tuned, self.device)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy, or R² of numbers, on the records that have a label."""
        y_N, known_N = read_labels(y)
        weights = None if sample_weight is None else np.asarray(sample_weight)[known_N]
        answers = self._answers(self._predicted(X, known_N))
        return float(type(self)._measure(y_N[known_N], answers, sample_weight=weights))

    @abstractmethod
    def _answers(self, predictions: list[Any]) -> np.ndarray:
        """Return what `predict` returns of predictions of the head."""

    def _predicted(self, X: Any, wanted_N: np.ndarray | None = None) -> list[Any]:
        """Return the predictions of the head, of all records or of those that are wanted."""
        check_is_fitted(self)
        with as_value_errors():
            predictor = self.kept_.predictor
            fields = predictor.model.plan.fields
            field = fields[predictor.modality]
            cells = read_records(self, X, list(fields.values()), fitting=False)[field]
            rows = range(len(cells))
            if wanted_N is not None:
                check_consistent_length(cells, wanted_N)
                rows = np.flatnonzero(wanted_N).tolist()
            require_values({field: cells}, rows)
            try:
                return predictor.predict([cells[row] for row in rows])
            except DataError as error:
                raise DataError(_unreadable(predictor, cells, rows) or str(error)) from error

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.target_tags.required = True
        return tags


class SSLClassifier(_Supervised, ClassifierMixin, BaseEstimator):
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

    _measure = staticmethod(accuracy_score)

    def _targets(self, y_M: np.ndarray) -> tuple[np.ndarray, Mapping[str, Any]]:
        check_classification_targets(y_M)
        self.classes_, codes_M = np.unique(y_M, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__} needs two classes or more, and y has one class.")
        return codes_M, {"name": "classification", "class_weights": self._weights()}

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, float64 (N, C), calibrated as `finetune.calibrate` says."""
        return self._probabilities(self._predicted(X))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each record."""
        return self._answers(self._predicted(X))

    def _answers(self, predictions: list[Any]) -> np.ndarray:
        return self.classes_[self._probabilities(predictions).argmax(1)]

    def _probabilities(self, predictions: list[Any]) -> np.ndarray:
        """Return the probability of each class, 0 of one of which no record could be read."""
        rows = [[p_of.get(code, 0.0) for code in range(len(self.classes_))] for p_of in predictions]
        p_NC = np.array(rows, np.float64)
        return p_NC / p_NC.sum(1, keepdims=True)

    def _weights(self) -> dict[str, float] | str | None:
        """Return the weights by the codes of classes, which `finetune.task` knows them by."""
        if self.class_weight is None or isinstance(self.class_weight, str):
            return self.class_weight
        codes = {name: code for code, name in enumerate(self.classes_.tolist())}
        for name in self.class_weight:
            if name not in codes:
                classes = ", ".join(map(repr, codes))
                raise ValueError(f"class_weight names the class {name!r}, which y does not have: it has {classes}.")
        return {str(codes[name]): float(weight) for name, weight in self.class_weight.items()}


class SSLRegressor(_Supervised, RegressorMixin, BaseEstimator):
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

    _measure = staticmethod(r2_score)

    def _targets(self, y_M: np.ndarray) -> tuple[np.ndarray, Mapping[str, Any]]:
        numbers_M = y_M.astype(np.float64)
        if len(np.unique(numbers_M)) == 1:
            raise ValueError(f"y has one value, {numbers_M[0]}: there is nothing to learn.")
        return numbers_M, {"name": "regression"}

    def predict(self, X: Any) -> np.ndarray:
        """Return a number for each record, float64 (N,)."""
        return self._answers(self._predicted(X))

    def _answers(self, predictions: list[Any]) -> np.ndarray:
        return np.array(predictions, np.float64)


def _unreadable(predictor: Predictor, cells: Sequence[Any], rows: Sequence[int]) -> str | None:
    """Return a sentence about the first of some rows that cannot be read, by its number among all."""
    modality = predictor.model.plan.modalities[predictor.modality]
    for row in rows:
        try:
            modality.decode(cells[row])
        except BadSample as error:
            return f"Value {row} of {predictor.modality} cannot be decoded: {error}."
    return None
