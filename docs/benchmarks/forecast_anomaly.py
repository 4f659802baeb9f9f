"""A forecast of solar power and an anomaly in a blood pressure, both sets of aeon's: features beside simple rules.

    python docs/benchmarks/forecast_anomaly.py --seeds 3

The forecast: half-hourly solar generation of Great Britain over six days, the first 60 % to learn from, windows of
12 hours, up to 6 hours ahead. The anomaly: InternalBleeding16 of the UCR anomaly archive, 1,200 normal steps to learn
from, 13 anomalous ones among the rest. Both train TS2Vec on windows and predict at a window's last step. Prints a table
for each with CPU seconds. No choice sees the test part.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score

import sensorium
from sensorium import Source
from sensorium.evaluation.anomaly import anomaly_events, f1_scores
from sensorium.evaluation.tables import ResultsTable
from sensorium.modalities.timeseries.sources.aeon import datasets
from sensorium.modalities.timeseries.sources.recordings import Recording, RecordingSource, SlidingWindow
from sensorium.modalities.timeseries.sources.table import SeriesTable

AHEAD, HORIZONS = 12, (1, 6, 12)
ENCODER = "modalities.timeseries.encoder={name: dilated, dim: 128, width: 32, depth: 6, pool: last}"


def solar() -> SeriesTable:
    """Return the forecasting set."""
    path = str(datasets()[0] / "solar" / "solar.csv")
    return SeriesTable(path, time="datetime_gmt", window=24, stride=1, by_time=(0.0, 0.4), gap=0, ahead=AHEAD)


def bleeding() -> tuple[RecordingSource, dict[str, np.ndarray], np.ndarray]:
    """Return the anomaly set, its values by part, and which of the test steps are anomalous."""
    values, odd = {}, {}
    for part in ("train", "test"):
        (path,) = (datasets()[0] / "KDD-TSAD_135").glob(f"*_{part.upper()}.csv")
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        values[part] = np.array([float(row["value"]) for row in rows], np.float32)
        odd[part] = [int(row["is_anomaly"]) for row in rows]
    known = len(values["train"])
    assert (values["test"][:known] == values["train"]).all(), "the file of the test part starts with the train part"
    values["test"], odd["test"] = values["test"][known:], odd["test"][known:]
    made = [Recording(part, values[part][None], {"odd": odd[part]}, part) for part in ("train", "test")]
    source = RecordingSource(made, "timeseries", SlidingWindow(64, 1, label_at="last"), "InternalBleeding16")
    return source, values, np.array(odd["test"], bool)


def learned(source: Source, evaluator: str, seeds: int, steps: int) -> ResultsTable:
    """Train with every seed and measure."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / str(seed) for seed in range(seeds)]
        for seed, folder in enumerate(folders):
            changes = [f"seed={seed}", f"train.steps={steps}", ENCODER, f"evaluate.evaluators={evaluator}"]
            sensorium.fit("ts2vec", changes, source=source, run_dir=folder)
        return next(iter(sensorium.evaluate(folders, source=source).values()))


def naive(source: SeriesTable) -> dict[str, float]:
    """Return the errors of repeating the last value, in standard deviations of the train part."""
    keys = [source.key(i) for i in range(len(source))]
    names = [f"ahead {step}" for step in range(1, AHEAD + 1)]
    y = {part: np.array([[k.labels[n] for n in names] for k in keys if k.split == part]) for part in ("train", "test")}
    now_N = np.array([source[i].values["timeseries"][0, -1] for i, k in enumerate(keys) if k.split == "test"])
    off = (y["test"] - now_N[:, None]) / y["train"].std(0)
    found = {}
    for horizon in HORIZONS:
        found[f"MSE {horizon} ↓"] = float(np.mean(off[:, :horizon] ** 2))
        found[f"MAE {horizon} ↓"] = float(np.mean(np.abs(off[:, :horizon])))
    return found


def moving_average(values: dict[str, np.ndarray], odd_N: np.ndarray, window: int = 64, width: int = 21) -> dict:
    """Return the metrics of the distance from the mean of the steps before, with the evaluator's own threshold."""

    def scores(x_T: np.ndarray) -> np.ndarray:
        before = np.convolve(x_T, np.ones(width) / width, "valid")[:-1]
        return np.abs(x_T[width:] - before)[window - 1 - width :]

    normal, test, truth_N = scores(values["train"]), scores(values["test"]), odd_N[window - 1 :]
    held_out = normal[len(normal) * 4 // 5 :]
    flagged_N = test > held_out.mean() + 4 * held_out.std()
    found = f1_scores(truth_N, flagged_N, anomaly_events(truth_N, ["test"] * len(truth_N)), 7)
    return {"average precision": float(average_precision_score(truth_N, test))} | found


def show(table: ResultsTable, row: str, metrics: dict[str, float], seconds: float) -> None:
    """Print a table with one more row."""
    names = table.metrics
    print(f"\n| | {' | '.join(names)} |\n|" + " --- |" * (len(names) + 1))
    cells = {r.name: [str(r.metrics[n]) if n in r.metrics else "" for n in names] for r in table.rows}
    cells[row] = [f"{metrics[n]:.3f}" for n in names]
    for name in (table.rows[0].name, row, *(r.name for r in table.rows[1:])):
        print(f"| {name} | {' | '.join(cells[name])} |")
    print(f"\n{'; '.join(table.footnotes())}; {seconds:.0f} CPU seconds.", flush=True)


def main() -> None:
    """Train, measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    asked = parser.parse_args()
    begin, source = time.process_time(), solar()
    table = learned(source, f"{{forecast: {{horizons: {list(HORIZONS)}}}}}", asked.seeds, asked.steps)
    show(table, "naive: as now", naive(source), time.process_time() - begin)
    begin, (source, values, odd_N) = time.process_time(), bleeding()
    table = learned(source, "{anomaly: {label: odd}}", asked.seeds, asked.steps)
    show(table, "moving average", moving_average(values, odd_N), time.process_time() - begin)


if __name__ == "__main__":
    main()
