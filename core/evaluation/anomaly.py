"""Anomalies as records far from all that are normal.

Letters: N records, M normal records to compare with, D features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, f1_score
from sklearn.neighbors import NearestNeighbors

from sensorium.contracts import Evaluator, FeatureTable
from sensorium.errors import SensoriumError
from sensorium.evaluation.labels import choose, is_missing, labeled
from sensorium.evaluation.scaling import Scaler


class Anomaly(Evaluator):
    """Flag records whose features lie far from those of normal records.

    A record is normal when its label is 0 (or False), or when it has none in the train part; any other label is an
    anomaly. The score is the mean distance to the nearest normal records of the train part's first four fifths; its
    last fifth sets the threshold, some deviations above the mean score there. Records are taken in their order, which
    is that of time, and neighbors of one group that are anomalies are one event.

    "F1 adjusted" counts an event as found whole when any of its records is flagged (Xu et al. 2018), which flatters:
    random flags score high on long events. "F1 delay" counts it so when it is flagged within `delay` records of its
    start, and as missed whole otherwise (Ren et al. 2019, as in TS2Vec).

    Args:
        label: label column; None takes the only one.
        modality: modality whose features are measured; None takes the only one.
        protocol: how parts are cut: given, or a mapping such as {name: kfold, folds: 10}.
        neighbors: how many of the nearest normal records the score is a mean over.
        deviations: how far above the mean score of normal records the threshold lies.
        delay: records after an event's first within which it must be found.
    """

    selection = "the threshold by scores of the last fifth of the normal train records"

    def __init__(
        self,
        label: str | None = None,
        modality: str | None = None,
        protocol: str | dict[str, Any] = "given",
        neighbors: int = 3,
        deviations: float = 4.0,
        delay: int = 7,
    ) -> None:
        if neighbors < 1 or delay < 0:
            raise SensoriumError("The evaluator 'anomaly' needs one neighbor and a delay of 0 at least.")
        self.label, self.modality, self.protocol = label, modality, protocol
        self.neighbors, self.deviations, self.delay = neighbors, deviations, delay

    def fit(self, train: FeatureTable) -> None:
        """Remember normal records, and how far from them others are."""
        modality = choose("modality", self.modality, list(train.features))
        labels = [] if self.label is None and not train.labels else [choose("label", self.label, list(train.labels))]
        values = train.labels[labels[0]].tolist() if labels else [None] * len(train)
        normal = [r for r, v in enumerate(values) if train.present[modality][r] and (is_missing(v) or _is_normal(v))]
        x_ND = train.features[modality][normal]
        known = len(x_ND) * 4 // 5
        if known < self.neighbors or known == len(x_ND):
            raise SensoriumError(
                f"The train part has {len(x_ND)} normal records (label 0, or none), too few to say what is far."
            )
        self.scale = Scaler().fit(x_ND[:known])
        self.index = NearestNeighbors(n_neighbors=self.neighbors).fit(self.scale.transform(x_ND[:known]))
        held_N = self.scores(x_ND[known:])
        self.threshold = float(held_N.mean() + self.deviations * held_N.std())

    def scores(self, x_ND: np.ndarray) -> np.ndarray:
        """Return how far features are from normal ones, float (N,)."""
        return self.index.kneighbors(self.scale.transform(x_ND))[0].mean(1)

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return average precision, which needs no threshold, and F1 by record, with adjustment, and with delay."""
        truth_N, x_ND, groups = self._read(test)
        scores_N = self.scores(x_ND)
        return {"average precision": float(average_precision_score(truth_N, scores_N))} | f1_scores(
            truth_N, scores_N > self.threshold, events(truth_N, groups), self.delay
        )

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the average precision of random scores: the share of anomalies."""
        return {"average precision": float(self._read(test)[0].mean())}

    def _read(self, test: FeatureTable) -> tuple[np.ndarray, np.ndarray, list[str]]:
        part = labeled(test, self.label, self.modality)
        truth_N = np.array([not _is_normal(value) for value in part.values])
        if truth_N.all() or not truth_N.any():
            raise SensoriumError("The test part needs normal records (label 0) and anomalies to tell apart.")
        return truth_N, part.x_ND, part.groups


def _is_normal(value: Any) -> bool:
    return isinstance(value, int | float) and value == 0


def events(truth_N: np.ndarray, groups: list[str]) -> list[slice]:
    """Return the runs of neighboring anomalies of one group."""
    found, start = [], None
    for row in range(len(truth_N) + 1):
        goes_on = row < len(truth_N) and truth_N[row]
        if start is not None and (not goes_on or groups[row] != groups[start]):
            found.append(slice(start, row))
            start = None
        if goes_on and start is None:
            start = row
    return found


def f1_scores(truth_N: np.ndarray, flagged_N: np.ndarray, found: list[slice], delay: int) -> dict[str, float]:
    """Return F1 of flags as they are, with whole events found by any flag, and by one within the delay."""
    adjusted_N, delayed_N = flagged_N.copy(), flagged_N.copy()
    for event in found:
        adjusted_N[event] = flagged_N[event].any()
        delayed_N[event] = flagged_N[event][: delay + 1].any()
    named = {"F1": flagged_N, "F1 adjusted": adjusted_N, "F1 delay": delayed_N}
    return {name: float(f1_score(truth_N, flags_N, zero_division=0)) for name, flags_N in named.items()}
