"""Time-series forecasting by ridge regression.

Letters: N records, D features, L labels, which are future values.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from sensorium.contracts import Evaluator
from sensorium.errors import SensoriumError, check_not_empty, check_range
from sensorium.evaluation.labels import choose_column, count_records, is_missing
from sensorium.evaluation.ridge import fit_ridge
from sensorium.feature_table import FeatureTable

HORIZON = re.compile(r"ahead (\d+)")


class Forecast(Evaluator):
    """Forecast future values by ridge regression on features of the past (TS2Vec, Yue et al. 2022, section 4.2).

    Future values are labels named "ahead 1", "ahead 2", ... (of several channels: "ahead 1, channel 0"), which sources
    of time series provide with the option `ahead`; features should represent the last time step. One model predicts
    all of them, standardized on the train part. The error at horizon H is the mean over steps 1 to H.

    Args:
        horizons: forecast horizons to report, in time steps, >= 1; None takes the longest.
        labels: label columns to predict; None takes those named "ahead ...", or else the only label.
        modality: modality whose features are measured; None takes the only one.
        protocol: evaluation protocol: given, or a mapping such as {name: kfold, folds: 10}.
        alphas: regularization strengths to choose from, > 0, largest first; a single one is used as it is.
    """

    selection = "alpha by squared error on the last 20 % of the train part, then refitted on all of it"

    def __init__(
        self,
        horizons: tuple[int, ...] | None = None,
        labels: tuple[str, ...] | None = None,
        modality: str | None = None,
        protocol: str | dict[str, Any] = "given",
        alphas: tuple[float, ...] = (1000.0, 500.0, 200.0, 100.0, 50.0, 20.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1),
    ) -> None:
        check_not_empty("evaluator 'forecast'", alphas=alphas, **({} if horizons is None else {"horizons": horizons}))
        check_range("evaluator 'forecast'", "(0, inf)", alphas=alphas)
        check_range("evaluator 'forecast'", "[1, inf)", horizons=horizons)
        self.horizons, self.labels, self.modality, self.protocol = horizons, labels, modality, protocol
        self.alphas = alphas
        self.label = labels[0] if labels else None
        self.chosen: list[str] = []
        self.excluded: list[str] = []

    def fit(self, train: FeatureTable) -> None:
        """Standardize the targets, choose alpha on the end of the train part, and fit."""
        self.names = self._names(train)
        x_ND, y_NL, _ = self._read(train)
        self.scaler = StandardScaler().fit(y_NL)
        if len(x_ND) < 5:
            raise SensoriumError(f"The train part has {len(x_ND)} records with all future values; five are needed.")
        folds_N = np.arange(len(x_ND)) * 5 // len(x_ND)  # in temporal order
        self.model, alpha = fit_ridge(x_ND, self.scaler.transform(y_NL), self.alphas, folds_N, validation_folds=[4])
        self.chosen = [f"alpha = {alpha:g}"]

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return mean squared and mean absolute error for each horizon, of targets standardized on the train part."""
        x_ND, y_NL, excluded = self._read(test)
        self.excluded = [f"{count_records(excluded)} without all future values excluded"] if excluded else []
        return self._errors(self.scaler.transform(y_NL), self.model.predict(x_ND).reshape(y_NL.shape))

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the metrics of always predicting the mean of the train part."""
        _, y_NL, _ = self._read(test)
        return self._errors(self.scaler.transform(y_NL), np.zeros_like(y_NL))

    def notes(self) -> list[str]:
        """Return alpha, and how many test records were excluded."""
        return self.chosen + self.excluded

    def _names(self, train: FeatureTable) -> list[str]:
        named = [name for name in train.labels if HORIZON.match(name)]
        if self.labels is not None:
            return [choose_column("label", name, list(train.labels)) for name in self.labels]
        return named or [choose_column("label", None, list(train.labels))]

    def _read(self, table: FeatureTable) -> tuple[np.ndarray, np.ndarray, int]:
        """Return features and future values of the records that have all of them, and how many do not."""
        modality = choose_column("modality", self.modality, list(table.features))
        columns = [table.labels[choose_column("label", name, list(table.labels))].tolist() for name in self.names]
        rows, values = [], []
        for row, cells in enumerate(zip(*columns, strict=True)):
            if table.present[modality][row] and not any(is_missing(cell) for cell in cells):
                if not all(isinstance(cell, int | float) for cell in cells):
                    raise SensoriumError(f"A future value of record '{table.ids[row]}' is not a number: {cells}.")
                rows.append(row)
                values.append(cells)
        if not rows:
            raise SensoriumError(
                f"None of the {len(table)} records of the part has '{modality}' and all of its future values "
                f"({', '.join(self.names[:3])}): set the source's option 'ahead', or the evaluator's option 'labels'."
            )
        x_ND = table.features[modality][rows].astype(np.float64)
        return x_ND, np.array(values, np.float64), len(table) - len(rows)

    def _errors(self, y_NL: np.ndarray, predicted_NL: np.ndarray) -> dict[str, float]:
        ahead_L = np.array([int(m[1]) if (m := HORIZON.match(name)) else 1 for name in self.names])
        metrics = {}
        for horizon in self.horizons or (int(ahead_L.max()),):
            if horizon > ahead_L.max() or horizon < 1:
                raise SensoriumError(
                    f"The records have values up to {ahead_L.max()} steps ahead, a horizon of {horizon} is too long."
                )
            error = (y_NL - predicted_NL)[:, ahead_L <= horizon]
            metrics[f"MSE {horizon} ↓"] = float(np.mean(error**2))
            metrics[f"MAE {horizon} ↓"] = float(np.mean(np.abs(error)))
        return metrics
