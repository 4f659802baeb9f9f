"""Graphs of the TU collection: frozen features under a support vector machine, several objectives beside two baselines.

    python docs/benchmarks/tu_graphs.py MUTAG.zip PROTEINS.zip --seeds 5 --results tu-metrics

Node classes alone are read, not numbers. Every row is measured alike: ten stratified folds, the penalty chosen by five
folds inside each train part, features standardized on it but for counts, which stay counts. Each seed has its
own training and folds. Prints a table for each data set, with a hash of the folds. A row that is in the folder of
results is not trained again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import kept

import sensorium
from sensorium.contracts import Source
from sensorium.evaluation.folds import assign_folds
from sensorium.evaluation.svm import SVM
from sensorium.evaluation.tables import Metric
from sensorium.feature_table import FeatureTable
from sensorium.modalities.graph.modality import GraphModality
from sensorium.modalities.graph.sources.tu import TU
from sensorium.modalities.graph.weisfeiler_lehman import weisfeiler_lehman
from sensorium.models.model import Model

FOLDS = 10
HCL = "objective={{name: simclr, negatives: {{beta: {}, prior: 0.1}}, temperature: 0.2, width: 96, dim: 96}}"
OBJECTIVES: dict[str, list[str]] = {
    "GraphCL (simclr)": [],
    "debiased (hcl, beta 0)": [HCL.format(0)],
    "hcl, beta 1": [HCL.format(1)],
    "hcl, beta 6": [HCL.format(6)],
    "vicreg": ["objective={name: vicreg, width: 96, dim: 96}"],
    "infograph": ["objective={name: infograph}", "modalities.graph.views=plain"],
    "graphmae": ["objective={name: graphmae, mask_ratio: 0.5}", "modalities.graph.views=plain"],
}
"""What each row changes in the recipe graphcl-tu."""


def folds_of(source: Source, seed: int) -> np.ndarray:
    """Return the fold of every record."""
    keys = [source.key(i) for i in range(len(source))]
    return assign_folds([key.id for key in keys], FOLDS, seed, [key.labels["class"] for key in keys])


def scores_of(features_ND: np.ndarray, source: Source, seed: int, standardize: bool) -> list[float]:
    """Return the accuracy of each fold."""
    ids = [source.key(i).id for i in range(len(source))]
    classes = np.array([source.key(i).labels["class"] for i in range(len(source))], dtype=object)
    present = {"graph": np.ones(len(ids), bool)}
    table = FeatureTable(ids, {"graph": features_ND.astype(np.float32)}, present, {"class": classes}, ids)
    folds_N, found = folds_of(source, seed), []
    for fold in range(FOLDS):
        svm = SVM("class", standardize=standardize)
        svm.seed = seed
        svm.fit(table.select(np.flatnonzero(folds_N != fold)))
        found.append(svm.measure(table.select(np.flatnonzero(folds_N == fold)))["accuracy"])
    return found


def counts_of(source: Source) -> dict[str, np.ndarray]:
    """Return the baseline features of every record."""
    modality, raws = GraphModality(), [source[i].values["graph"] for i in range(len(source))]
    modality.fit(raws)
    batch = modality.collate([modality.decode(raw) for raw in raws])
    kinds_NC = torch.nn.functional.one_hot(batch.x[:, 0])
    histogram_BC = torch.zeros(len(batch), kinds_NC.shape[1], dtype=torch.int64).index_add(
        0, batch.graph_index, kinds_NC
    )
    return {
        "baseline: node classes counted": histogram_BC.numpy(),
        "baseline: Weisfeiler-Lehman, 5 iterations": weisfeiler_lehman(batch, iterations=5).numpy(),
    }


def trained_scores(path: Path, source: Source, seed: int, changes: list[str]) -> dict[str, list[float]]:
    """Train; return the accuracy of each fold with the initial and with the trained weights."""
    raws = [source[i].values["graph"] for i in range(len(source))]
    with tempfile.TemporaryDirectory() as folder:
        given = [f"data.source.path={path}", "evaluate.evaluators={}", f"seed={seed}", *changes]
        trained = sensorium.fit("graphcl-tu", given, run_dir=Path(folder) / "run")
        models = {"untrained": Model(trained.plan, trained.plan.learner()), "trained": trained}
        features = {name: model.embed(space="features", graph=raws)["graph"].numpy() for name, model in models.items()}
    return {name: scores_of(x_ND, source, seed, standardize=True) for name, x_ND in features.items()}


def scores_and_seconds(path: Path, source: Source, seed: int, row: str, overrides: list[str]) -> dict[str, Any]:
    """Return the accuracies of one row and seed, and the CPU seconds that they took."""
    start = time.process_time()
    if row == "baseline":
        scores = {name: scores_of(x, source, seed, standardize=False) for name, x in counts_of(source).items()}
    else:
        scores = trained_scores(path, source, seed, [*OBJECTIVES[row], *overrides])
    return {"scores": scores, "seconds": time.process_time() - start}


def measure(path: Path, seeds: range, rows: list[str], overrides: list[str], metrics: Path) -> str:
    """Train and measure everything on one data set that is not there yet; return its table."""
    source = TU(str(path), attributes=False)
    found: dict[str, list[list[float]]] = {}
    seconds: dict[str, float] = {}
    for seed in seeds:
        for row in ("baseline", *rows):
            one = partial(scores_and_seconds, path, source, seed, row, overrides)
            measured = kept(metrics / f"{path.stem} {seed} {row}.json", one)
            seconds[row] = seconds.get(row, 0.0) + measured["seconds"] / len(seeds)
            for name, folds in measured["scores"].items():
                title = row if name == "trained" else name
                if title != "untrained" or row == rows[0]:  # the same initial weights in every row
                    found.setdefault(title, []).append(folds)
    classes = [source.key(i).labels["class"] for i in range(len(source))]
    chance = max(classes.count(one) for one in set(classes)) / len(classes)
    folds = blake2b(b"".join(folds_of(source, seed).tobytes() for seed in seeds), digest_size=6).hexdigest()
    lines = [f"## {path.stem}", "", f"{len(source)} graphs, {len(seeds)} seeds, folds {folds}", ""]
    lines += ["| | accuracy ± over seeds (folds ± within a seed) | CPU seconds a seed |", "| --- | ---: | ---: |"]
    lines += [f"| chance (largest class) | {chance:.3f} | |"]
    lines += [f"| {n} | {Metric(s)} | {f'{seconds[n]:.0f}' if n in seconds else ''} |" for n, s in found.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure every data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", type=Path, help="zip files or folders of TU data sets")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--rows", nargs="+", choices=list(OBJECTIVES), default=list(OBJECTIVES))
    parser.add_argument("--results", type=Path, default=Path("tu-metrics"))
    parser.add_argument("--set", nargs="*", default=[], help="key=value changes to the recipe graphcl-tu")
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.seeds)
    for path in asked.paths:
        print(measure(path, seeds, asked.rows, asked.set, asked.results), flush=True)


if __name__ == "__main__":
    main()
