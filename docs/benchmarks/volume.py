"""OpenMoji images with names in two languages, all three at once: GRAM, TRIANGLE and Symile beside pairs.

    python docs/benchmarks/volume.py --steps 200 --seeds 0 1 2

The towers, data and steps of three_modalities.py. Retrieval among complete test records: of one modality by another,
the mean over six directions, and of one by both others, the mean over three. The query of two modalities is the mean
of their unit embeddings, or for Symile their product, by which it compares; both are given for every row.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
from kept import kept
from three_modalities import FIELDS, recipe, sources

from sensorium import fit
from sensorium.evaluation.run_evaluation import RunEvaluation
from sensorium.evaluation.tables import Metric

OBJECTIVES: dict[str, dict[str, Any]] = {
    "align, all pairs": {"name": "align"},
    "volume: gram": {"name": "volume"},
    "volume: gram, cosine 0 (the paper's)": {"name": "volume", "cosine": 0.0},
    "volume: gram, text the only anchor": {"name": "volume", "anchors": ["text"]},
    "volume: triangle": {"name": "volume", "kind": "triangle"},
    "volume: symile, n": {"name": "volume", "kind": "symile"},
}
ROWS = [(objective, "nothing missing") for objective in OBJECTIVES] + [
    (objective, "half missing, every pair left") for objective in ("align, all pairs", "volume: gram")
]


def unit(rows_ND: np.ndarray) -> np.ndarray:
    """Return rows of norm one."""
    return rows_ND / np.maximum(np.linalg.norm(rows_ND, axis=1, keepdims=True), 1e-12)


def recall(query_ND: np.ndarray, target_ND: np.ndarray, k: int) -> float:
    """Return the fraction of queries whose own target is among the first k; ties count against it."""
    similarity_NN = unit(query_ND) @ target_ND.T
    rank_N = (similarity_NN >= similarity_NN.diagonal()[:, None] - 1e-6).sum(1)
    return float((rank_N <= k).mean())


def one(objective: str, missing: str, seed: int, steps: int) -> dict[str, float]:
    """Train one row, and return recall by one modality and by two."""
    source = sources(missing)
    given = recipe(missing, seed, steps)
    given["objective"] = {"dim": 128, **OBJECTIVES[objective]}
    with tempfile.TemporaryDirectory() as folder:
        model = fit(given, source=source, run_dir=Path(folder) / "run")
        table = RunEvaluation(model.plan, source, model.run).table(model, "test", "embedding")
    z = {name: unit(np.asarray(table.features[name], np.float64)) for name in FIELDS}
    by_two = [(pair, next(name for name in FIELDS if name not in pair)) for pair in combinations(FIELDS, 2)]
    metrics = {"test records": float(len(table))}
    for k in (1, 10):
        metrics[f"by one R@{k}"] = float(np.mean([recall(z[x], z[y], k) for x, y in permutations(FIELDS, 2)]))
        metrics[f"by two, mean R@{k}"] = float(np.mean([recall(z[x] + z[y], z[t], k) for (x, y), t in by_two]))
        metrics[f"by two, product R@{k}"] = float(np.mean([recall(z[x] * z[y], z[t], k) for (x, y), t in by_two]))
    return metrics


def main() -> None:
    """Print a table; a row that is in the folder of results is not trained again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--results", type=Path, default=Path("volume"))
    options = parser.parse_args()
    found: dict[tuple[str, str], list[dict[str, float]]] = {row: [] for row in ROWS}
    for seed in options.seeds:
        for (objective, missing), runs in found.items():
            file = options.results / f"{seed} {objective}, {missing}.json"
            runs.append(kept(file, partial(one, objective, missing, seed, options.steps)))
    names = [name for name in found[ROWS[0]][0] if name != "test records"]
    print(f"| mean and deviation of {len(options.seeds)} seeds | | {' | '.join(names)} |")
    print(f"| --- | --- |{' ---: |' * len(names)}")
    for (objective, missing), runs in found.items():
        cells = [str(Metric([[run[name]] for run in runs])) for name in names]
        print(f"| {objective} | {missing} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
