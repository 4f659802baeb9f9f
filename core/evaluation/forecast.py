"""Time-series forecasting by ridge regression.

Letters: N records, D features, L labels, which are future values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL.Image import Image
from sklearn.preprocessing import StandardScaler

from sensorium.contracts import Evaluator
from sensorium.errors import SensoriumError, check_not_empty, check_range
from sensorium.evaluation.labels import choose_column, count_records, is_missing
from sensorium.evaluation.predictions import time_columns, time_ends
from sensorium.evaluation.probes import objects
from sensorium.evaluation.ridge import fit_ridge
from sensorium.evaluation.time_plot import Panel, time_plot
from sensorium.feature_table import FeatureTable

HORIZON = re.compile(r"ahead (\d+)")
PANELS = 4
"""Channels that are drawn."""


class Forecast(Evaluator):
    """Forecast future values by ridge regression on features of the past (TS2Vec, Yue et al. 2022, section 4.2).

    Future values are labels named "ahead 1", "ahead 2", ... (of several channels: "ahead 1, channel 0"), which sources
    of time series provide with the option `ahead`; features should represent the last time step. One model predicts
    all of them, standardized on the train part. The error at horizon H is the mean over steps 1 to H. Errors of each
    channel are in its own unit.

    The row "last value" predicts that nothing changes (persistence); it needs the labels "ahead 0".

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
        self.predicted: dict[str, np.ndarray] = {}

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
        x_ND, y_NL, rows = self._read(test)
        excluded = len(test) - len(rows)
        self.excluded = [f"{count_records(excluded)} without all future values excluded"] if excluded else []
        predicted_NL = self.model.predict(x_ND).reshape(y_NL.shape)
        self.predicted = self._long(test, rows, y_NL, self.scaler.inverse_transform(predicted_NL))
        return self._errors(self.scaler.transform(y_NL), predicted_NL)

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the metrics of always predicting the mean of the train part."""
        _, y_NL, _ = self._read(test)
        return self._errors(self.scaler.transform(y_NL), np.zeros_like(y_NL))

    def references(self, test: FeatureTable) -> dict[str, dict[str, float]]:
        """Return the metrics of the last value of each channel, where the records have it as a label."""
        _, y_NL, rows = self._read(test)
        last_NL = self._last(test, rows)
        if last_NL is None:
            return {}
        return {"last value": self._errors(self.scaler.transform(y_NL), self.scaler.transform(last_NL))}

    def predictions(self) -> Mapping[str, np.ndarray]:
        """Return the predictions of the last measurement: one row for each record and future value."""
        return self.predicted

    def metrics_by_class(self, predictions: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
        """Return the errors of each channel in its own unit, those of the last value beside them."""
        found: dict[str, dict[str, float]] = {}
        for channel in dict.fromkeys(predictions["channel"].tolist()):
            of_channel_N = predictions["channel"] == channel
            y_N, predicted_N, last_N = (
                predictions[column][of_channel_N].astype(float) for column in ("label", "prediction", "last value")
            )
            found[channel] = {
                "RMSE ↓": float(np.sqrt(np.mean((y_N - predicted_N) ** 2))),
                "MAE ↓": float(np.mean(np.abs(y_N - predicted_N))),
            }
            if np.isfinite(last_N).all():
                found[channel]["MAE of the last value ↓"] = float(np.mean(np.abs(y_N - last_N)))
        return found

    def plot(self, predictions: Mapping[str, np.ndarray]) -> Image:
        """Draw prediction and truth of the longest horizon over time, of the first channels."""
        longest = predictions["step"].max()
        panels = []
        for channel in list(dict.fromkeys(predictions["channel"].tolist()))[:PANELS]:
            rows_N = (predictions["channel"] == channel) & (predictions["step"] == longest)
            groups_N = predictions["group"][rows_N]
            lines = {"truth": predictions["label"][rows_N], "prediction": predictions["prediction"][rows_N]}
            starts_N = np.append(False, groups_N[1:] != groups_N[:-1])
            panels.append(Panel(f"{channel}, {longest} steps ahead", lines, starts=starts_N))
        return time_plot(panels, *time_ends({name: column[rows_N] for name, column in predictions.items()}))

    def notes(self) -> list[str]:
        """Return alpha, and how many test records were excluded."""
        return self.chosen + self.excluded

    def _names(self, train: FeatureTable) -> list[str]:
        named = [name for name in train.labels if (ahead := HORIZON.match(name)) and int(ahead[1]) > 0]
        if self.labels is not None:
            return [choose_column("label", name, list(train.labels)) for name in self.labels]
        return named or [choose_column("label", None, list(train.labels))]

    def _read(self, table: FeatureTable) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """Return features and future values of the records that have all of them, and their rows in the table."""
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
        return x_ND, np.array(values, np.float64), rows

    def _last(self, table: FeatureTable, rows: list[int]) -> np.ndarray | None:
        """Return the last value before each future value, float64 (N, L); None where it is no label of every record."""
        names = [HORIZON.sub("ahead 0", name, count=1) for name in self.names]
        if not all(HORIZON.match(name) and name in table.labels for name in names):
            return None
        columns = [table.labels[name][rows].tolist() for name in names]
        if any(is_missing(cell) for column in columns for cell in column):
            return None
        return np.array(columns, np.float64).T

    def _long(
        self, table: FeatureTable, rows: list[int], y_NL: np.ndarray, predicted_NL: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return predictions as one row for each record and future value, a record's values one after the other."""
        last_NL = self._last(table, rows)
        times = time_columns(table, np.array(rows))
        steps = [int(ahead[1]) if (ahead := HORIZON.match(name)) else 1 for name in self.names]
        channels = [name.partition(", ")[2] or ("value" if HORIZON.match(name) else name) for name in self.names]
        count = len(self.names)
        return {
            "id": np.repeat(objects(table.ids[row] for row in rows), count),
            "group": np.repeat(objects(table.groups[row] for row in rows), count),
            **{name: np.repeat(column, count) for name, column in times.items()},
            "step": np.tile(steps, len(rows)),
            "channel": np.tile(objects(channels), len(rows)),
            "label": y_NL.ravel(),
            "prediction": predicted_NL.ravel(),
            "last value": (np.full_like(y_NL, np.nan) if last_NL is None else last_NL).ravel(),
        }

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
