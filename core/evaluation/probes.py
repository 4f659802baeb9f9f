"""Base classes of classifiers and regressors on frozen features: reading the parts, metrics, chance.

A probe is fitted in `learn` and predicts in `predict`, which receives features alone: no choice can depend on a label
of the test part.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import f1_score, precision_recall_fscore_support, recall_score, roc_auc_score

from sensorium.contracts import Evaluator
from sensorium.errors import SensoriumError
from sensorium.evaluation.few_records import class_remarks
from sensorium.evaluation.labels import Labeled, choose_column, count_records, is_missing, labeled, numeric_labels
from sensorium.evaluation.scaling import standardize_by_group
from sensorium.feature_table import FeatureTable

FEW = 5
"""Records of each value, on average, below which numbers with fractions are no classes."""


class Probe(Evaluator):
    """Probes the features of one modality for one label column."""

    def __init__(
        self,
        label: str | None,
        modality: str | None,
        protocol: str | Mapping[str, Any],
        standardize_by: str | None = None,
    ) -> None:
        self.label, self.modality, self.protocol, self.standardize_by = label, modality, protocol, standardize_by
        self.chosen: list[str] = []
        self.excluded: list[str] = []
        self.predicted: dict[str, np.ndarray] = {}

    def part_of(self, table: FeatureTable) -> Labeled:
        """Return the records of a part with value and label, standardized within the groups of `standardize_by`."""
        part = labeled(table, self.label, self.modality)
        if self.standardize_by is not None:
            column = table.labels[choose_column("label", self.standardize_by, list(table.labels))][part.rows_N]
            part.groups = ["none" if is_missing(name) else f"{self.standardize_by} {name}" for name in column]
            part.x_ND = standardize_by_group(part.x_ND, part.groups)
        return part

    @abstractmethod
    def learn(self, x_ND: np.ndarray, y_N: np.ndarray, groups: list[str]) -> None:
        """Fit to the train part; notes on the chosen hyperparameters go to `chosen`."""

    @abstractmethod
    def predict(self, x_ND: np.ndarray) -> np.ndarray:
        """Return one prediction for each row."""

    def predictions(self) -> Mapping[str, np.ndarray]:
        """Return the predictions of the last measurement."""
        return self.predicted

    def notes(self) -> list[str]:
        """Return the chosen hyperparameters and how many test records were excluded."""
        return self.chosen + self.excluded

    def note_excluded(self, count: int) -> None:
        """Note how many test records lack the modality or the label."""
        self.excluded = [f"{count_records(count)} without label or value excluded"] if count else []


class Classifier(Probe):
    """Predicts a class of the train part; a test record of any other class counts as an error.

    A subclass fits in `learn` and gives a score of each class in `scores`.
    """

    metric: str = "accuracy"
    """The metric that stands first in tables, and that hyperparameters are chosen by."""
    for_numbers: ClassVar[str] = "Measure it by a regressor, such as 'ridge'"
    """What to do about a label that is a number."""
    classes: dict[Any, int] = {}  # noqa: RUF012 - never changed, replaced by `fit`
    """Class of the train part -> its number."""

    def fit(self, train: FeatureTable) -> None:
        """Number the classes and fit."""
        part = self.part_of(train)
        self.classes = {value: number for number, value in enumerate(sorted(set(part.values), key=str))}
        if len(self.classes) < 2:
            raise SensoriumError(
                f"The label '{part.label}' has one class in {count_records(len(part.values))} to learn from, "
                f"{part.values[0]!r}: a classifier needs two or more."
            )
        self._refuse_continuous(part)
        y_N = np.array([self.classes[value] for value in part.values])
        self.majority = int(np.bincount(y_N).argmax())
        self.learn(part.x_ND, y_N, part.groups)

    def _refuse_continuous(self, part: Labeled) -> None:
        """Refuse numbers with fractions of which most are in few records: each would be a class of its own."""
        fraction = next((value for value in part.values if isinstance(value, float) and not value.is_integer()), None)
        if fraction is not None and len(self.classes) * FEW > len(part.values):
            raise SensoriumError(
                f"The label '{part.label}' is continuous: the {len(part.values)} train records have "
                f"{len(self.classes)} values, such as {fraction!r}. {self.for_numbers}, or give classes."
            )

    @abstractmethod
    def scores(self, x_ND: np.ndarray) -> np.ndarray:
        """Return a score of each class, float (N, C): the larger, the more probable."""

    def decide(self, x_ND: np.ndarray, scores_NC: np.ndarray) -> np.ndarray:
        """Return the class of each row, int (N,), by its features and scores."""
        return scores_NC.argmax(1)

    def predict(self, x_ND: np.ndarray) -> np.ndarray:
        """Return the class of each row, int (N,)."""
        return self.decide(x_ND, self.scores(x_ND))

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return accuracy, balanced accuracy (mean recall over classes), macro-F1 and, of two classes, ROC-AUC."""
        part = self.part_of(test)
        self.note_excluded(part.excluded)
        scores_NC = self.scores(part.x_ND)
        names = list(self.classes)
        self.predicted = {
            "id": objects(test.ids[row] for row in part.rows_N),
            "label": objects(part.values),
            "prediction": objects(names[code] for code in self.decide(part.x_ND, scores_NC).tolist()),
            **{f"score {name}": scores_NC[:, code].astype(np.float64) for name, code in self.classes.items()},
        }
        return self.metrics_of(self.predicted)

    def metrics_of(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Return the same metrics of any predictions; one that does not apply is left out."""
        return self._ordered(classification_metrics(*self._coded(predictions)))

    def metrics_by_class(self, predictions: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
        """Return the number of records of each class, recall, precision and F1."""
        y_N, predicted_N, _ = self._coded(predictions)
        names = list(self._codes(predictions))
        columns = precision_recall_fscore_support(y_N, predicted_N, labels=range(len(names)), zero_division=0)
        return {
            str(name): {"records": int(n), "recall": float(r), "precision": float(p), "F1": float(f)}
            for name, p, r, f, n in zip(names, *columns, strict=True)
            if n
        }

    def remarks(self, predictions: Mapping[str, np.ndarray]) -> list[str]:
        """Return how many records of each class were measured, and a warning where they are too few."""
        y_N = self._coded(predictions)[0]
        names, counts = list(self._codes(predictions)), np.bincount(y_N)
        by_name = {str(name): int(count) for name, count in zip(names, counts, strict=False) if count}
        return class_remarks(by_name, self.metric, self.first_metric(predictions), len(y_N))

    def first_metric(self, predictions: Mapping[str, np.ndarray]) -> Callable[[np.ndarray], float | None]:
        """Return what gives `metric` of any rows of predictions; classes are numbered once."""
        y_N, predicted_N, scores_N = self._coded(predictions)
        metric = METRICS[self.metric]
        return lambda rows_N: metric(y_N[rows_N], predicted_N[rows_N], None if scores_N is None else scores_N[rows_N])

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the metrics of always predicting the majority class of the train part."""
        part = self.part_of(test)
        self.note_excluded(part.excluded)
        majority = list(self.classes)[self.majority]
        constant = {"label": objects(part.values), "prediction": objects([majority] * len(part.values))}
        return self.metrics_of(constant | {f"score {name}": np.zeros(len(part.values)) for name in self.classes})

    def _ordered(self, metrics: dict[str, float]) -> dict[str, float]:
        return {name: metrics[name] for name in (self.metric, *metrics) if name in metrics}

    def _codes(self, predictions: Mapping[str, np.ndarray]) -> dict[Any, int]:
        """Number the classes of predictions: those of the train part first, where it was fitted."""
        columns = [name.removeprefix("score ") for name in predictions if name.startswith("score ")]
        known = {str(value): value for value in predictions["label"].tolist()}
        codes = dict(self.classes) or {known.get(name, name): code for code, name in enumerate(columns)}
        for value in (*predictions["label"].tolist(), *predictions["prediction"].tolist()):
            codes.setdefault(value, len(codes))
        return codes

    def _coded(self, predictions: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return classes and predicted classes, and of two classes the scores of the second."""
        codes = self._codes(predictions)
        y_N, predicted_N = (
            np.array([codes[value] for value in predictions[column].tolist()]) for column in ("label", "prediction")
        )
        scores_N = None
        if len(codes) == 2:
            first, second = (predictions.get(f"score {name}") for name in codes)
            if first is not None and second is not None:
                scores_N = second - first
        return y_N, predicted_N, scores_N


def objects(values: Iterable[Any]) -> np.ndarray:
    """Return values of any type as an object array (N,)."""
    listed = list(values)
    column = np.empty(len(listed), object)
    column[:] = listed
    return column


def per_class(decision: np.ndarray) -> np.ndarray:
    """Return a decision function as scores (N, C); that of two classes, (N,), is the second's less the first's."""
    return decision if decision.ndim == 2 else np.stack([-decision / 2, decision / 2], axis=1)


def classification_metrics(
    y_N: np.ndarray, predicted_N: np.ndarray, scores_N: np.ndarray | None = None
) -> dict[str, float]:
    """Return accuracy, balanced accuracy and macro-F1 and, with scores of class 1, ROC-AUC where both classes occur.

    Args:
        y_N: classes, int.
        predicted_N: predicted classes, int.
        scores_N: of two classes, the scores of class 1.
    """
    metrics = {name: metric(y_N, predicted_N, scores_N) for name, metric in METRICS.items()}
    return {name: value for name, value in metrics.items() if value is not None}


def _roc_auc(y_N: np.ndarray, predicted_N: np.ndarray, scores_N: np.ndarray | None) -> float | None:
    return float(roc_auc_score(y_N, scores_N)) if scores_N is not None and len(np.unique(y_N)) == 2 else None


METRICS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray | None], float | None]] = {
    "accuracy": lambda y_N, predicted_N, _: float(np.mean(y_N == predicted_N)),
    "balanced accuracy": lambda y_N, predicted_N, _: float(
        recall_score(y_N, predicted_N, labels=np.unique(y_N), average="macro")
    ),
    "macro-F1": lambda y_N, predicted_N, _: float(f1_score(y_N, predicted_N, average="macro", zero_division=0)),
    "ROC-AUC": _roc_auc,
}
"""Metrics of classes, by name; None where one does not apply."""


class Regressor(Probe):
    """Predicts a numeric label."""

    def fit(self, train: FeatureTable) -> None:
        """Read the numbers and fit."""
        part = self.part_of(train)
        y_N = numeric_labels(part)
        self.mean = float(y_N.mean())
        self.learn(part.x_ND, y_N, part.groups)

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return root mean squared error, R² and Spearman's rank correlation coefficient."""
        part = self.part_of(test)
        self.note_excluded(part.excluded)
        self.predicted = {
            "id": objects(test.ids[row] for row in part.rows_N),
            "label": numeric_labels(part),
            "prediction": np.asarray(self.predict(part.x_ND), np.float64),
        }
        return self.metrics_of(self.predicted)

    def metrics_of(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Return the same metrics of any predictions."""
        return _regression_metrics(predictions["label"], predictions["prediction"])

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the metrics of always predicting the mean of the train part."""
        y_N = numeric_labels(self.part_of(test))
        return _regression_metrics(y_N, np.full_like(y_N, self.mean))


def _regression_metrics(y_N: np.ndarray, predicted_N: np.ndarray) -> dict[str, float]:
    error, variance = np.mean((y_N - predicted_N) ** 2), np.var(y_N)
    if variance == 0:
        raise SensoriumError("All test records have the same numeric label: there is nothing to predict.")
    return {
        "RMSE ↓": float(np.sqrt(error)),
        "R2": float(1 - error / variance),
        "spearman": spearman(y_N, predicted_N),
    }


def spearman(a_N: np.ndarray, b_N: np.ndarray) -> float:
    """Return Spearman's rank correlation, ties at their mean rank; 0 if one side is constant."""
    # Imported here, since it takes longer than all of sklearn.metrics, which every probe needs.
    from scipy.stats import ConstantInputWarning, spearmanr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        return float(np.nan_to_num(spearmanr(a_N, b_N).statistic))
