"""The last layer against the best one and against attention pooling, on one run of each modality, three seeds.

    python docs/benchmarks/layers.py --out layers

Runs are kept in the folder, and resumed when the command is given again. Evaluators choose layer, pooling and
regularization on the val part; knn and linear read the pooled features of the last layer.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from resumable import fit_until

import sensorium

SEEDS = (0, 1, 2)
VAL = ["data.val=0.15", "evaluate.evaluators={}"]
RUNS = {
    "image": ("mae", "category", ["train.steps=300", "modalities.image.encoder.depth=6"]),
    "text": ("masked-token", "language", ["train.steps=400", "modalities.text.encoder.depth=4"]),
    "audio": ("wav2vec2", "instrument", ["train.steps=150", "modalities.audio.encoder.depth=4"]),
    "timeseries": (
        "ts2vec",
        "class",
        [
            "data.source.dataset=JapaneseVowels",
            "data.batch=64",
            "modalities.timeseries.views=plain",
            "modalities.timeseries.encoder={name: patch-transformer, patch: 2, width: 64, depth: 4}",
            "objective=mae",
            "train.ema=null",
            "train.steps=200",
        ],
    ),
}
"""Modality -> recipe, label and changes to the recipe."""
EVALUATORS = ("knn", "linear", "layers", "attentive")


def tables_of(modality: str, out: Path, seconds: float) -> list[str]:
    """Return the lines of one modality, training what is not trained yet."""
    recipe, label, changes = RUNS[modality]
    folders = [out / f"{modality}-{seed}" for seed in SEEDS]
    for seed, folder in zip(SEEDS, folders, strict=True):
        if not fit_until(time.monotonic() + seconds, folder, recipe, [*VAL, *changes, f"seed={seed}"]):
            return [f"| {modality} | not trained yet | | |"]
    asked = [f"evaluate.evaluators.{name}.label={label}" for name in EVALUATORS]
    tables = sensorium.evaluate(folders, list(EVALUATORS), asked)
    lines = []
    for name, table in tables.items():
        cells = [str(table.row(row).metrics["accuracy"]) for row in ("untrained", "trained")]
        notes = "; ".join(f"{note.split(' (')[0]} ×{count}" for note, count in table.row("trained").notes.items())
        lines.append(f"| {modality} | {name} | {cells[0]} | {cells[1]} | {notes if name == 'layers' else ''} |")
    return lines


def main() -> None:
    """Print a Markdown table of test accuracies."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("layers"))
    parser.add_argument("--seconds", type=float, default=3600.0, help="most of one training, which is resumed later")
    parser.add_argument("--only", nargs="+", default=list(RUNS), choices=list(RUNS))
    options = parser.parse_args()
    print("| run | evaluator | untrained | trained | chosen |\n| --- | --- | ---: | ---: | --- |")
    for modality in options.only:
        print("\n".join(tables_of(modality, options.out, options.seconds)), flush=True)


if __name__ == "__main__":
    main()
