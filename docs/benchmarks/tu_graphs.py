"""Graphs of the TU collection: frozen features under a support vector machine, several objectives beside two baselines.

    python docs/benchmarks/tu_graphs.py MUTAG.zip PROTEINS.zip --seeds 5

Node classes alone are read, not numbers. Every row is measured alike: ten stratified folds, the penalty chosen by five
folds inside each train part, features standardised on it but for counts, which stay counts. A seed trains anew and
deals the folds anew. Prints a table for each data set, with a hash of the folds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch

import sensorium
from sensorium.contracts import FeatureTable, Source
from sensorium.evaluation.folds import deal
from sensorium.evaluation.svm import SVM
from sensorium.evaluation.tables import Figure
from sensorium.modalities.graph.modality import GraphModality
from sensorium.modalities.graph.sources.tu import TU
from sensorium.modalities.graph.weisfeiler_lehman import weisfeiler_lehman
from sensorium.model import Model

FOLDS = 10
OBJECTIVES: dict[str, list[str]] = {
    "GraphCL (simclr)": [],
    "infograph": ["objective={name: infograph}", "modalities.graph.views=plain"],
    "graphmae": ["objective={name: graphmae, ratio: 0.5}", "modalities.graph.views=plain"],
}
"""What each row changes in the recipe graphcl-tu."""


def folds_of(source: Source, seed: int) -> np.ndarray:
    """Return the fold of every record."""
    keys = [source.key(i) for i in range(len(source))]
    return deal([key.id for key in keys], FOLDS, seed, [key.labels["class"] for key in keys])


def scores_of(features_ND: np.ndarray, source: Source, seed: int, standardise: bool) -> list[float]:
    """Return the accuracy of each fold."""
    ids = [source.key(i).id for i in range(len(source))]
    classes = np.array([source.key(i).labels["class"] for i in range(len(source))], dtype=object)
    present = {"graph": np.ones(len(ids), bool)}
    table = FeatureTable(ids, {"graph": features_ND.astype(np.float32)}, present, {"class": classes}, ids)
    folds_N, found = folds_of(source, seed), []
    for fold in range(FOLDS):
        svm = SVM("class", standardise=standardise)
        svm.seed = seed
        svm.fit(table.select(np.flatnonzero(folds_N != fold)))
        found.append(svm.measure(table.select(np.flatnonzero(folds_N == fold)))["accuracy"])
    return found


def counts_of(source: Source) -> dict[str, np.ndarray]:
    """Return the hand-made features of every record."""
    modality, raws = GraphModality(), [source[i].values["graph"] for i in range(len(source))]
    modality.fit(raws)
    batch = modality.collate([modality.decode(raw) for raw in raws])
    kinds_NC = torch.nn.functional.one_hot(batch.x[:, 0])
    histogram_BC = torch.zeros(len(batch), kinds_NC.shape[1], dtype=torch.int64).index_add(0, batch.graph, kinds_NC)
    return {
        "hand-made: node classes counted": histogram_BC.numpy(),
        "hand-made: Weisfeiler-Lehman, 5 rounds": weisfeiler_lehman(batch, rounds=5).numpy(),
    }


def models_of(path: Path, seed: int, changes: list[str]) -> tuple[Model, Model]:
    """Train; return the model with its first and with its last weights."""
    with tempfile.TemporaryDirectory() as folder:
        given = [f"data.source.path={path}", "evaluate.evaluators={}", f"seed={seed}", *changes]
        trained = sensorium.fit("graphcl-tu", given, run_dir=Path(folder) / "run")
        return Model(trained.plan, trained.plan.learner()), trained


def measure(path: Path, seeds: range, overrides: list[str]) -> str:
    """Train and measure everything on one data set; return its table."""
    source = TU(str(path), attributes=False)
    raws = [source[i].values["graph"] for i in range(len(source))]
    rows: dict[str, list[list[float]]] = {}
    minutes: dict[str, float] = {}

    def add(name: str, features: Callable[[], np.ndarray], seed: int) -> None:
        start = time.perf_counter()
        rows.setdefault(name, []).append(scores_of(features(), source, seed, not name.startswith("hand-made")))
        minutes[name] = minutes.get(name, 0.0) + (time.perf_counter() - start) / 60

    for seed in seeds:
        for name, features_ND in counts_of(source).items():
            add(name, lambda features_ND=features_ND: features_ND, seed)
        for name, changes in OBJECTIVES.items():
            first, trained = models_of(path, seed, [*changes, *overrides])
            if len(rows.get("untrained GIN", [])) <= seed - seeds.start:
                add(
                    "untrained GIN",
                    lambda first=first: first.embed(space="features", graph=raws)["graph"].numpy(),
                    seed,
                )
            add(name, lambda trained=trained: trained.embed(space="features", graph=raws)["graph"].numpy(), seed)
    classes = [source.key(i).labels["class"] for i in range(len(source))]
    chance = max(classes.count(one) for one in set(classes)) / len(classes)
    folds = blake2b(b"".join(folds_of(source, seed).tobytes() for seed in seeds), digest_size=6).hexdigest()
    lines = [f"## {path.stem}", "", f"{len(source)} graphs, {len(seeds)} seeds, folds {folds}", ""]
    lines += ["| | accuracy ± over seeds (folds ± within a seed) | minutes of measuring |", "| --- | ---: | ---: |"]
    lines += [f"| chance (largest class) | {chance:.3f} | |"]
    lines += [f"| {name} | {Figure(scores)} | {minutes[name]:.1f} |" for name, scores in rows.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure every data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", type=Path, help="zip files or folders of TU data sets")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--set", nargs="*", default=[], help="key=value changes to the recipe graphcl-tu")
    asked = parser.parse_args()
    for path in asked.paths:
        print(measure(path, range(asked.first, asked.first + asked.seeds), asked.set), flush=True)


if __name__ == "__main__":
    main()
