"""Anomaly detection by distance to normal records.

Letters: N records, D features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL.Image import Image
from sklearn.metrics import average_precision_score, f1_score
from sklearn.neighbors import NearestNeighbors

from sensorium.contracts import Evaluator
from sensorium.errors import SensoriumError, check_range
from sensorium.evaluation.labels import Labeled, choose_column, is_missing, labeled
from sensorium.evaluation.predictions import time_columns, time_ends
from sensorium.evaluation.probes import objects
from sensorium.evaluation.scaling import Scaler
from sensorium.evaluation.time_plot import Panel, time_plot
from sensorium.feature_table import FeatureTable


class Anomaly(Evaluator):
    """Anomaly detection by the mean distance to the nearest normal records (kNN).

    A record is normal if its label is 0 (or False), or if it has no label in the train part; any other label is an
    anomaly. The anomaly score is the mean distance to the nearest records among the first 80 % of the normal train
    records; the remaining 20 % set the threshold: mean + `threshold_std` * std of their scores. Records are read in
    temporal order, and consecutive anomalies of one group (of all records, where there are no groups) form one event.

    "F1 point-adjusted" counts an event as detected if any of its records is flagged (point adjustment, Xu et al. 2018);
    it is optimistic, since random flags score high on long events. "F1 delay" counts it only if a record is flagged
    within `delay` records of the start, and as missed otherwise (Ren et al. 2019, as in TS2Vec).

    "events detected" is the fraction of events of which any record is flagged; a false alarm is a run of flagged
    records of one group that meets no event, and counts once.

    Args:
        label: label column; None takes the only one.
        modality: modality whose features are measured; None takes the only one.
        protocol: evaluation protocol: given, or a mapping such as {name: kfold, folds: 10}.
        neighbors: number of nearest normal records that the score averages over, >= 1.
        threshold_std: distance of the threshold from the mean normal score, in standard deviations; 4 as in TS2Vec.
        delay: number of records after the start of an event within which it must be flagged, >= 0; 7 as in TS2Vec.
    """

    selection = "threshold by the scores of the last 20 % of the normal train records"

    def __init__(
        self,
        label: str | None = None,
        modality: str | None = None,
        protocol: str | dict[str, Any] = "given",
        neighbors: int = 3,
        threshold_std: float = 4.0,
        delay: int = 7,
    ) -> None:
        check_range("evaluator 'anomaly'", "[1, inf)", neighbors=neighbors)
        check_range("evaluator 'anomaly'", "[0, inf)", delay=delay)
        self.label, self.modality, self.protocol = label, modality, protocol
        self.neighbors, self.threshold_std, self.delay = neighbors, threshold_std, delay
        self.threshold = 0.0
        self.predicted: dict[str, np.ndarray] = {}

    def fit(self, train: FeatureTable) -> None:
        """Index the normal records and set the threshold."""
        modality = choose_column("modality", self.modality, list(train.features))
        values = [None] * len(train)
        if self.label is not None or train.labels:
            values = train.labels[choose_column("label", self.label, list(train.labels))].tolist()
        normal = [r for r, v in enumerate(values) if train.present[modality][r] and (is_missing(v) or _is_normal(v))]
        x_ND = train.features[modality][normal]
        indexed = len(x_ND) * 4 // 5
        if indexed < self.neighbors or indexed == len(x_ND):
            others = sorted({repr(v) for v in values if not is_missing(v) and not _is_normal(v)})
            rest = (
                f"; labels of anomalies: {', '.join(others[:5])}{', ...' if len(others) > 5 else ''}" if others else ""
            )
            raise SensoriumError(
                f"The train part has {len(x_ND)} normal records (label 0, or none), too few to set a threshold{rest}."
            )
        self.scaler = Scaler().fit(x_ND[:indexed])
        self.index = NearestNeighbors(n_neighbors=self.neighbors).fit(self.scaler.transform(x_ND[:indexed]))
        normal_scores_N = self.scores(x_ND[indexed:])
        self.threshold = float(normal_scores_N.mean() + self.threshold_std * normal_scores_N.std())

    def scores(self, x_ND: np.ndarray) -> np.ndarray:
        """Return anomaly scores, float (N,)."""
        return self.index.kneighbors(self.scaler.transform(x_ND))[0].mean(1)

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return average precision, F1 at the threshold: pointwise, point-adjusted, with delay; alarms by events."""
        truth_N, part = self._read(test)
        scores_N = self.scores(part.x_ND)
        self.predicted = {
            "id": objects(test.ids[row] for row in part.rows_N),
            "group": objects(part.groups),
            **time_columns(test, part.rows_N),
            "label": truth_N,
            "prediction": scores_N > self.threshold,
            "score": scores_N.astype(np.float64),
        }
        return self.metrics_of(self.predicted)

    def metrics_of(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Return the same metrics of any predictions."""
        truth_N, flagged_N = (predictions[column].astype(bool) for column in ("label", "prediction"))
        events, alarms = self._events(predictions)
        detected = sum(bool(flagged_N[event].any()) for event in events)
        false = sum(not truth_N[alarm].any() for alarm in alarms)
        average = float(average_precision_score(truth_N, predictions["score"].astype(float)))
        return {
            "average precision": average,
            **f1_scores(truth_N, flagged_N, events, self.delay),
            "events detected": detected / len(events) if events else 0.0,
            "false alarms per 1000 records ↓": 1000 * false / len(truth_N),
        }

    def predictions(self) -> Mapping[str, np.ndarray]:
        """Return score and flag of each record of the last measurement, with its time stamps where it has any."""
        return self.predicted

    def remarks(self, predictions: Mapping[str, np.ndarray]) -> list[str]:
        """Return how many events were detected, how many alarms were false and in which time."""
        truth_N, flagged_N = (predictions[column].astype(bool) for column in ("label", "prediction"))
        events, alarms = self._events(predictions)
        detected = sum(bool(flagged_N[event].any()) for event in events)
        false = sum(not truth_N[alarm].any() for alarm in alarms)
        sentence = f"Events: {detected} of {len(events)} detected; {false} false alarms in {len(truth_N)} records"
        if (days := _days(predictions)) is not None:
            sentence += f", {days:.3g} days ({false / days:.3g} a day)"
        return [f"{sentence}. An alarm is a run of flagged records, and counts once."]

    def plot(self, predictions: Mapping[str, np.ndarray]) -> Image:
        """Draw the scores over time: anomalies shaded, flagged records marked, the threshold as a line."""
        groups_N = predictions["group"]
        panel = Panel(
            "anomaly score; shaded: anomalies, dots: flagged, line: threshold",
            {"score": predictions["score"].astype(float)},
            self.threshold,
            predictions["label"].astype(bool),
            predictions["prediction"].astype(bool),
            np.append(False, groups_N[1:] != groups_N[:-1]),
        )
        return time_plot([panel], *time_ends(predictions))

    def _events(self, predictions: Mapping[str, np.ndarray]) -> tuple[list[slice], list[slice]]:
        """Return the events and the alarms: runs of anomalies and of flagged records of one group."""
        groups = predictions["group"].tolist()
        runs = [anomaly_events(predictions[column].astype(bool), groups) for column in ("label", "prediction")]
        return runs[0], runs[1]

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the average precision of random scores: the fraction of anomalies."""
        return {"average precision": float(self._read(test)[0].mean())}

    def notes(self) -> list[str]:
        """Return the threshold."""
        return [f"threshold {self.threshold:.4g}"]

    def _read(self, test: FeatureTable) -> tuple[np.ndarray, Labeled]:
        part = labeled(test, self.label, self.modality)
        truth_N = np.array([not _is_normal(value) for value in part.values])
        if truth_N.all() or not truth_N.any():
            raise SensoriumError("The test part needs both normal records (label 0) and anomalies.")
        if len(set(part.groups)) == len(part.groups):  # no groups: all records are one recording
            part.groups = ["all records"] * len(part.groups)
        return truth_N, part


def _days(predictions: Mapping[str, np.ndarray]) -> float | None:
    """Return the days from the first to the last time stamp, summed over groups; None without dates."""
    if "start" not in predictions or predictions["start"].dtype.kind != "M":
        return None
    total = 0.0
    for group in dict.fromkeys(predictions["group"].tolist()):
        of_group_N = predictions["group"] == group
        length = predictions["end"][of_group_N].max() - predictions["start"][of_group_N].min()
        total += float(length / np.timedelta64(1, "D"))
    return total or None


def _is_normal(value: Any) -> bool:
    return isinstance(value, int | float) and value == 0


def anomaly_events(truth_N: np.ndarray, groups: list[str]) -> list[slice]:
    """Return the events: runs of consecutive anomalies of one group."""
    events, start = [], None
    for row in range(len(truth_N) + 1):
        is_anomaly = row < len(truth_N) and truth_N[row]
        if start is not None and (not is_anomaly or groups[row] != groups[start]):
            events.append(slice(start, row))
            start = None
        if is_anomaly and start is None:
            start = row
    return events


def f1_scores(truth_N: np.ndarray, flagged_N: np.ndarray, events: list[slice], delay: int) -> dict[str, float]:
    """Return F1 of the flags: pointwise, point-adjusted, and with detection within `delay` records."""
    adjusted_N, delayed_N = flagged_N.copy(), flagged_N.copy()
    for event in events:
        adjusted_N[event] = flagged_N[event].any()
        delayed_N[event] = flagged_N[event][: delay + 1].any()
    named = {"F1": flagged_N, "F1 point-adjusted": adjusted_N, "F1 delay": delayed_N}
    return {name: float(f1_score(truth_N, flags_N, zero_division=0)) for name, flags_N in named.items()}
