"""Prediction of one modality from others.

Letters: N records, T tokens, P numbers of a target, V classes, D features, G candidates of as many tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch

from sensorium.contracts import Evaluator
from sensorium.errors import SensoriumError
from sensorium.evaluation.directions import BASELINE, TARGET, Direction, directions
from sensorium.evaluation.labels import choose_column, count_records
from sensorium.evaluation.predictions import Columns, joined
from sensorium.feature_table import FeatureTable
from sensorium.neighbors.similarity import TIE, l2_normalize, similarity_blocks

BACKOFF = 10.0
"""Weight, in records, of the class frequencies of all places where those of one place are estimated."""
ENDINGS = {"baseline features": BASELINE, "features": ""}
"""By what the nearest neighbor is found -> the ending of its columns."""
FIGURES = ("error", "error of chance", "tokens", "hits", "top-1")
"""What is known of each prediction."""


class CrossPrediction(Evaluator):
    """Prediction of the tokens of one modality from other modalities, of which nothing is hidden.

    Metrics of each direction, over all tokens of the target: R2, the fraction of the squared error of the train part's
    mean at each place that is explained; where tokens are class ids the fraction of the cross-entropy of their
    frequencies at each place (McFadden 1974), their accuracy and their perplexity. Then top-1: how often a prediction
    is nearer to the target of its own record (squared error, or log-likelihood) than to that of any other test record
    with as many tokens, since the number of tokens is told; targets that are equal share the hit, records without
    another one of as many tokens do not count.

    Row chance: the train part's mean, or most frequent class, at each place. Rows "nearest neighbor": the target of the
    train record whose sources are most similar, by the mean cosine over the sources that both have, of baseline
    features and of the encoders' own; these are no distributions, so that cross-entropies are left out.

    Args:
        sources: predict each modality from all "others" that a record has, or from "each" one alone.
        target: the modality that is predicted; None for each in turn.
    """

    space = "predictions"

    def __init__(self, sources: Literal["others", "each"] = "others", target: str | None = None) -> None:
        self.sources, self.target = sources, target
        self.measured: dict[str, np.ndarray] = {}
        self.excluded: list[str] = []

    def fit(self, train: FeatureTable) -> None:
        """Keep the train part: its means and frequencies are chance, its records are neighbors."""
        self.train = train

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return the metrics of each direction, such as "image->text top-1"."""
        self.excluded, rows = [], []
        for direction, task in self._tasks(test):
            rows.append(task.measure(test.features[str(direction)][task.rows]))
            if alone := int(np.isnan(rows[-1]["top-1"]).sum()):
                self.excluded.append(
                    f"{direction} top-1: {count_records(alone)} with no other of as many tokens excluded"
                )
        self.measured = joined(rows)
        return self.metrics_of(self.measured)

    def metrics_of(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Return the same metrics of any records."""
        metrics: dict[str, float] = {}
        for direction in dict.fromkeys(predictions["direction"].tolist()) if predictions else ():
            of_it = predictions["direction"] == direction
            columns = {name: column[of_it] for name, column in predictions.items() if column.dtype.kind == "f"}
            metrics |= {f"{direction} {name}": value for name, value in _metrics(columns).items()}
        return metrics

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the metrics of the train part's mean, or class frequencies, at each place."""
        return self.metrics_of(joined([task.chance() for _, task in self._tasks(test)]))

    def references(self, test: FeatureTable) -> dict[str, dict[str, float]]:
        """Return the metrics of the nearest train record, by baseline features and by those of the encoders."""
        found = {}
        for by, ending in ENDINGS.items():
            rows = [task.neighbor(ending) for _, task in self._tasks(test) if task.has(ending)]
            if rows:
                found[f"nearest neighbor, {by}"] = self.metrics_of(joined(rows))
        return found

    def predictions(self) -> Mapping[str, np.ndarray]:
        """Return for each record and direction of the last measurement its errors, and those of chance."""
        return self.measured

    def notes(self) -> list[str]:
        """Return how many records were left out of the top-1."""
        return self.excluded

    def _tasks(self, test: FeatureTable) -> Iterator[tuple[Direction, _Task]]:
        """Yield the directions that are measured."""
        names = [name.removesuffix(TARGET) for name in test.features if name.endswith(TARGET)]
        target = None if self.target is None else choose_column("modality", self.target, names)
        count = len(names) - 1 if self.sources == "others" else 1
        found = False
        for direction in directions(names):
            is_asked = len(direction.sources) == count and target in (None, direction.target)
            if is_asked and str(direction) in test.features and test.present[str(direction)].any():
                found = True
                yield direction, _Task(direction, self.train, test, self.device)
        if not found:
            raise SensoriumError("No record of the test part has a modality to predict and another to predict it from.")


class _Judged(NamedTuple):
    """What is told of the prediction of one record.

    Args:
        error: squared error over its tokens, or negative log-likelihood; nan where there is none.
        hits: number of its tokens whose class is right; nan where they have none.
        distances: how far targets (G, T, P) are from it, (G,).
    """

    error: float
    hits: float
    distances: Callable[[np.ndarray], np.ndarray]


class _Task:
    """One direction: what is known of its target in both parts.

    Args:
        direction: the direction.
        train: the train part.
        test: the test part, with the predictions of the direction.
        device: where similarities are computed.
    """

    def __init__(self, direction: Direction, train: FeatureTable, test: FeatureTable, device: torch.device) -> None:
        self.direction, self.train, self.test, self.device = direction, train, test, device
        column = f"{direction.target}{TARGET}"
        self.rows = np.flatnonzero(test.present[str(direction)])
        if column not in train.features or not train.present[column].any():
            raise SensoriumError(f"No record of the train part has '{direction.target}', from which chance is taken.")
        self.learned_rows = np.flatnonzero(train.present[column])
        self.learned_NTP = train.features[column][self.learned_rows]
        self.known_rows = np.flatnonzero(test.present[column])
        self.known_NTP = test.features[column][self.known_rows]
        width = test.features[str(direction)].shape[2]
        self.is_classes = self.known_NTP.shape[2] == 1 and width > 1
        self.places = max(self.learned_NTP.shape[1], self.known_NTP.shape[1])
        self.learned_NTP, self.known_NTP = (_padded(y, self.places) for y in (self.learned_NTP, self.known_NTP))
        self.lengths_N = _lengths(self.known_NTP)
        self._candidates: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.truth_NTP = self.known_NTP[np.searchsorted(self.known_rows, self.rows)]
        self.expected = _frequencies(self.learned_NTP, width) if self.is_classes else _means(self.learned_NTP)

    def has(self, ending: str) -> bool:
        """Return whether all sources have features of a kind in both parts."""
        columns = [f"{source}{ending}" for source in self.direction.sources]
        return all(column in part.features for part in (self.train, self.test) for column in columns)

    def measure(self, made_NTP: np.ndarray) -> Columns:
        """Return the columns of predictions (N, T, P) of all rows."""

        def judge(row: int, truth_TP: np.ndarray) -> _Judged:
            made_TP = made_NTP[row, : len(truth_TP)].astype(np.float32)
            hits = (made_TP.argmax(1) == truth_TP[:, 0]).sum() if self.is_classes else np.nan
            return _Judged(float(self._distances(made_TP, truth_TP[None])[0]), hits, partial(self._distances, made_TP))

        return self._columns(judge)

    def chance(self) -> Columns:
        """Return the columns of the train part's expectation; its top-1 is that of a draw among candidates."""

        def judge(row: int, truth_TP: np.ndarray) -> _Judged:
            error, hits = self._expected_error(truth_TP)
            return _Judged(error, hits, lambda y_GTP: np.zeros(len(y_GTP)))  # all are equally near

        return self._columns(judge)

    def neighbor(self, ending: str) -> Columns:
        """Return the columns of the targets of the nearest train records, by features of a kind."""
        near_N = self._nearest(ending)

        def judge(row: int, truth_TP: np.ndarray) -> _Judged:
            near_TP = self.learned_NTP[near_N[row], : len(truth_TP)].astype(np.float32)
            if self.is_classes:
                return _Judged(np.nan, (near_TP == truth_TP).sum(), lambda y_GTP: (y_GTP != near_TP).sum((1, 2)))
            near_TP = np.where(np.isnan(near_TP), self.expected[: len(truth_TP)], near_TP)
            error = float(self._distances(near_TP, truth_TP[None])[0])
            return _Judged(error, np.nan, partial(self._distances, near_TP))

        return self._columns(judge)

    def _columns(self, judge: Callable[[int, np.ndarray], _Judged]) -> Columns:
        """Return the columns of all rows, of each of which `judge` tells error, hits and distances to targets."""
        found: list[tuple[float, ...]] = []
        for row, truth_TP in enumerate(self.truth_NTP):
            length = int(_lengths(truth_TP[None])[0])
            own_TP = truth_TP[:length].astype(np.float32)
            judged = judge(row, own_TP)
            first = self._is_first(row, length, judged.distances)
            found.append((judged.error, self._expected_error(own_TP)[0], length, judged.hits, first))
        named = dict(zip(FIGURES, np.array(found, float).reshape(-1, len(FIGURES)).T, strict=True))
        ids = np.array(self.test.ids, object)[self.rows]
        return {"id": ids, "direction": np.full(len(ids), str(self.direction), object), **named}

    def _expected_error(self, truth_TP: np.ndarray) -> tuple[float, float]:
        """Return the error of the train part's expectation of one target, and its hits."""
        expected = self.expected[: len(truth_TP)]
        if not self.is_classes:
            return float(np.square(expected - truth_TP).sum()), np.nan
        return float(self._distances(np.log(expected), truth_TP[None])[0]), (expected.argmax(1) == truth_TP[:, 0]).sum()

    def _distances(self, made_TP: np.ndarray, y_GTP: np.ndarray) -> np.ndarray:
        """Return how far candidates (G, T, P) are from a prediction: squared error, or negative log-likelihood."""
        if not self.is_classes:
            return np.square(y_GTP - made_TP).sum((1, 2))  # type: ignore[no-any-return]
        return -made_TP[np.arange(len(made_TP)), y_GTP[..., 0].astype(np.int64)].sum(1)  # type: ignore[no-any-return]

    def _is_first(self, row: int, length: int, distances: Callable[[np.ndarray], np.ndarray]) -> float:
        """Return whether a record's own target is the nearest of those of as many tokens; a share of it at a tie."""
        if length not in self._candidates:
            of_length = np.flatnonzero(self.lengths_N == length)
            self._candidates[length] = self.known_rows[of_length], self.known_NTP[of_length, :length].astype(np.float32)
        rows_G, y_GTP = self._candidates[length]
        if len(rows_G) < 2:
            return float("nan")
        distance_G = distances(y_GTP)
        own = distance_G[np.searchsorted(rows_G, self.rows[row])]
        tie = TIE * max(abs(own), 1.0)
        return 0.0 if own > distance_G.min() + tie else 1 / float((distance_G <= own + tie).sum())

    def _nearest(self, ending: str) -> np.ndarray:
        """Return for each row which learned record has the most similar sources."""
        summed, counts = torch.zeros(len(self.rows), len(self.learned_rows)), torch.zeros(1, 1)
        for source in self.direction.sources:
            column = f"{source}{ending}"
            parts = ((self.test, self.rows), (self.train, self.learned_rows))
            queries_ND, keys_MD = (np.nan_to_num(part.features[column][rows]) for part, rows in parts)
            has = [torch.from_numpy(part.present[column][rows]).float() for part, rows in parts]
            both_NM = has[0][:, None] * has[1]
            cosines = similarity_blocks(l2_normalize(queries_ND, self.device), l2_normalize(keys_MD, self.device))
            summed, counts = summed + both_NM * torch.cat([s.cpu() for _, s in cosines]), counts + both_NM
        return torch.where(counts > 0, summed / counts.clamp(min=1), -torch.inf).argmax(1).numpy()


def _metrics(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the metrics of the rows of one direction."""
    error, tokens, metrics = float(columns["error"].sum()), columns["tokens"].sum(), {}
    is_classes = not np.isnan(columns["hits"]).any()
    if not np.isnan(error):
        metrics["R2"] = 1 - error / max(float(columns["error of chance"].sum()), 1e-12)
    if is_classes:
        metrics["accuracy"] = float(columns["hits"].sum() / tokens)
    if is_classes and not np.isnan(error):
        metrics["perplexity ↓"] = float(np.exp(min(error / tokens, 700.0)))
    if not np.isnan(columns["top-1"]).all():
        metrics["top-1"] = float(np.nanmean(columns["top-1"]))
    return metrics


def _padded(x_NTP: np.ndarray, places: int) -> np.ndarray:
    """Return tokens with nan behind, so many of each record."""
    missing = places - x_NTP.shape[1]
    return np.pad(x_NTP, ((0, 0), (0, missing), (0, 0)), constant_values=np.nan) if missing > 0 else x_NTP


def _lengths(y_NTP: np.ndarray) -> np.ndarray:
    """Return the number of tokens of each record, which stand first."""
    return (~np.isnan(y_NTP[..., 0])).sum(1)  # type: ignore[no-any-return]


def _means(y_NTP: np.ndarray) -> np.ndarray:
    """Return the mean target at each place, float (T, P); of all places where no record has that many tokens."""
    known_NTP = np.isfinite(y_NTP)
    sums_TP, counts_TP = np.nansum(y_NTP, axis=0, dtype=np.float64), known_NTP.sum(0)
    overall_P = sums_TP.sum(0) / np.maximum(counts_TP.sum(0), 1)
    return np.where(counts_TP > 0, sums_TP / np.maximum(counts_TP, 1), overall_P).astype(np.float32)  # type: ignore[no-any-return]


def _frequencies(y_NT1: np.ndarray, classes: int) -> np.ndarray:
    """Return class frequencies at each place, float (T, V), smoothed by those of all places."""
    counts_TV = np.zeros((y_NT1.shape[1], classes))
    rows, places = np.nonzero(~np.isnan(y_NT1[..., 0]))
    np.add.at(counts_TV, (places, y_NT1[rows, places, 0].astype(np.int64)), 1)
    overall_V = (counts_TV.sum(0) + 1) / (counts_TV.sum() + classes)
    return (counts_TV + BACKOFF * overall_V) / (counts_TV.sum(1, keepdims=True) + BACKOFF)  # type: ignore[no-any-return]
