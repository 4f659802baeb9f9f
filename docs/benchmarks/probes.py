"""Seconds of the probes on raw pixels of CIFAR-10, and of scikit-learn's logistic regression on the same records.

    python docs/benchmarks/probes.py --train cifar10-train.parquet --test cifar10-test.parquet --pixels gray

The 50,000 train images and 10,000 of them mirrored are the train part, so that there are 60,000 as in MNIST. All
choices are made on the train part; the test part is predicted once for each row of the output. Seconds are those of the
processor, so that other programs on the machine hardly change them; OMP_NUM_THREADS says how many threads.
"""

from __future__ import annotations

import argparse
import io
import json
import time
import warnings

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sensorium.evaluation.folds import assign_folds
from sensorium.evaluation.forest import Forest
from sensorium.evaluation.knn import KNN
from sensorium.evaluation.linear import CS, Linear
from sensorium.evaluation.ridge import Ridge
from sensorium.feature_table import FeatureTable

SIDE, MIRRORED = 28, 10_000
PROBES = {"knn": KNN, "linear": Linear, "ridge": Ridge, "forest": lambda label: Forest(label, task="classification")}


def images(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images at 28 x 28, uint8 (N, 28, 28, 3), and their labels."""
    table = pq.read_table(path)
    pixels = [
        np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
        for cell in table["image"].to_pylist()
    ]
    return np.stack(pixels), np.array(table["label"].to_pylist())


def features(pixels: np.ndarray, kind: str) -> np.ndarray:
    """Return raw pixels in [0, 1]: 784 gray values, or 2,352 of three channels."""
    chosen = pixels.mean(3) if kind == "gray" else pixels
    return chosen.reshape(len(pixels), -1).astype(np.float32) / 255


def table(x_ND: np.ndarray, y_N: np.ndarray, prefix: str) -> FeatureTable:
    """Return features and labels as evaluators take them."""
    ids = [f"{prefix}{row}" for row in range(len(x_ND))]
    labels = np.empty(len(y_N), object)
    labels[:] = y_N.tolist()
    return FeatureTable(ids, {"image": x_ND}, {"image": np.ones(len(x_ND), bool)}, {"class": labels}, ids)


def scikit_learn(train: FeatureTable, test: FeatureTable) -> tuple[float, str]:
    """Return test accuracy and the chosen C of scikit-learn's logistic regression, by the rule of `linear`."""
    x_ND, y_N = train.features["image"], train.labels["class"].astype(int)
    is_val_N = assign_folds(train.groups, 5, 0, y_N) == 0

    def fit(C: float, rows: np.ndarray):
        return make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=200)).fit(x_ND[rows], y_N[rows])

    C = max(CS, key=lambda C: fit(C, ~is_val_N).score(x_ND[is_val_N], y_N[is_val_N]))
    model = fit(C, np.ones(len(y_N), bool))
    return float(model.score(test.features["image"], test.labels["class"].astype(int))), f"C = {C:g}"


def main() -> None:
    """Print one JSON line for each probe."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--pixels", choices=["gray", "color"], default="gray")
    parser.add_argument("--probes", nargs="+", default=["knn", "linear", "ridge"], choices=[*PROBES, "scikit-learn"])
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    (seen, y_seen), (kept, y_kept) = images(options.train), images(options.test)
    seen, y_seen = np.concatenate([seen, seen[:MIRRORED, :, ::-1]]), np.concatenate([y_seen, y_seen[:MIRRORED]])
    train = table(features(seen, options.pixels), y_seen, "train ")
    test = table(features(kept, options.pixels), y_kept, "test ")
    for name in options.probes:
        started, clock = time.process_time(), time.perf_counter()
        if name == "scikit-learn":
            accuracy, chosen = scikit_learn(train, test)
            metrics = {"accuracy": accuracy}
        else:
            probe = PROBES[name](label="class")
            probe.fit(train)
            metrics, chosen = probe.measure(test), "; ".join(probe.notes())
        spent = {"cpu_seconds": time.process_time() - started, "seconds": time.perf_counter() - clock}
        shape = f"{len(train):,} x {train.features['image'].shape[1]:,}"
        print(json.dumps({"probe": name, "train": shape, **spent, **metrics, "chosen": chosen}), flush=True)


if __name__ == "__main__":
    main()
