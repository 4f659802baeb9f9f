"""Forecasting by ridge regression.

Letters: N records, D features, L labels, which are values to come.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from sklearn import linear_model
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sensorium.contracts import Evaluator, FeatureTable
from sensorium.errors import SensoriumError
from sensorium.evaluation.folds import select
from sensorium.evaluation.labels import choose, is_missing, records
from sensorium.evaluation.scaling import Scaler

HORIZON = re.compile(r"ahead (\d+)")


class Forecast(Evaluator):
    """Predict the values that come after a record by ridge regression (TS2Vec, Yue et al. 2022, section 4.2).

    Values to come are labels named "ahead 1", "ahead 2", ... (of several channels: "ahead 1, channel 0"), as sources
    of time series give them with the option `ahead`; features should tell of the last step. All are predicted by one
    model, in units of their deviation over the train part. The error of a horizon H is the mean over values 1 to H.

    Args:
        horizons: how many values to come each pair of figures speaks of; None takes all there are.
        labels: label columns to predict; None takes those named so, or else the only label.
        modality: modality whose features are measured; None takes the only one.
        protocol: how parts are cut: given, or a mapping such as {name: kfold, folds: 10}.
        penalties: values of alpha to choose from, the strongest penalty (largest alpha) first; a single one is taken
            as is.
    """

    selection = "alpha by squared error on the last fifth of the train part, then fitted to all of it"

    def __init__(
        self,
        horizons: tuple[int, ...] | None = None,
        labels: tuple[str, ...] | None = None,
        modality: str | None = None,
        protocol: str | dict[str, Any] = "given",
        penalties: tuple[float, ...] = (1000.0, 500.0, 200.0, 100.0, 50.0, 20.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1),
    ) -> None:
        self.horizons, self.labels, self.modality, self.protocol = horizons, labels, modality, protocol
        self.penalties = penalties
        self.label = labels[0] if labels else None
        self.chosen: list[str] = []
        self.left_out: list[str] = []

    def fit(self, train: FeatureTable) -> None:
        """Learn the scale of the values, choose the penalty on the end of the train part, and fit."""
        self.names = self._names(train)
        x_ND, y_NL, _ = self._read(train)
        self.scale = StandardScaler().fit(y_NL)
        y_NL = self.scale.transform(y_NL)

        def fitted(penalty: float, rows: np.ndarray | slice) -> Pipeline:
            return make_pipeline(Scaler(), linear_model.Ridge(alpha=penalty)).fit(x_ND[rows], y_NL[rows])

        def score(penalty: float, learn: np.ndarray, held: np.ndarray) -> float:
            return -float(np.mean((fitted(penalty, learn).predict(x_ND[held]) - y_NL[held]) ** 2))

        if len(x_ND) < 5:
            raise SensoriumError(f"The train part has {len(x_ND)} records with all values to come; five are needed.")
        folds_N = np.arange(len(x_ND)) * 5 // len(x_ND)  # in the records' order, which is that of time
        penalty = select(self.penalties, score, folds_N, held=[4])
        self.model = fitted(penalty, slice(None))
        self.chosen = [f"alpha = {penalty:g}"]

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return mean squared and mean absolute error for each horizon, in deviations of the train part."""
        x_ND, y_NL, left_out = self._read(test)
        self.left_out = [f"{records(left_out)} without all values to come left out"] if left_out else []
        return self._errors(self.scale.transform(y_NL), self.model.predict(x_ND).reshape(y_NL.shape))

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return what answering the train part's mean every time scores."""
        _, y_NL, _ = self._read(test)
        return self._errors(self.scale.transform(y_NL), np.zeros_like(y_NL))

    def notes(self) -> list[str]:
        """Return what was chosen, and how many test records could not be measured."""
        return self.chosen + self.left_out

    def _names(self, train: FeatureTable) -> list[str]:
        named = [name for name in train.labels if HORIZON.match(name)]
        if self.labels is not None:
            return [choose("label", name, list(train.labels)) for name in self.labels]
        return named or [choose("label", None, list(train.labels))]

    def _read(self, table: FeatureTable) -> tuple[np.ndarray, np.ndarray, int]:
        """Return features and values of the records that have all, and how many have not."""
        modality = choose("modality", self.modality, list(table.features))
        columns = [table.labels[choose("label", name, list(table.labels))].tolist() for name in self.names]
        rows, values = [], []
        for row, cells in enumerate(zip(*columns, strict=True)):
            if table.present[modality][row] and not any(is_missing(cell) for cell in cells):
                if not all(isinstance(cell, int | float) for cell in cells):
                    raise SensoriumError(f"A value to come of record '{table.ids[row]}' is no number: {cells}.")
                rows.append(row)
                values.append(cells)
        if not rows:
            raise SensoriumError(
                f"None of the {len(table)} records of a part has '{modality}' and all of its values to come "
                f"({', '.join(self.names[:3])}): set the source's option ahead, or name labels."
            )
        x_ND = table.features[modality][rows].astype(np.float64)
        return x_ND, np.array(values, np.float64), len(table) - len(rows)

    def _errors(self, y_NL: np.ndarray, guess_NL: np.ndarray) -> dict[str, float]:
        ahead_L = np.array([int(m[1]) if (m := HORIZON.match(name)) else 1 for name in self.names])
        metrics = {}
        for horizon in self.horizons or (int(ahead_L.max()),):
            if horizon > ahead_L.max() or horizon < 1:
                raise SensoriumError(f"There are values up to {ahead_L.max()} steps ahead, none up to {horizon}.")
            off = (y_NL - guess_NL)[:, ahead_L <= horizon]
            metrics[f"MSE {horizon} ↓"] = float(np.mean(off**2))
            metrics[f"MAE {horizon} ↓"] = float(np.mean(np.abs(off)))
        return metrics
