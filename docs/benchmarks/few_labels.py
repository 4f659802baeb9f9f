"""Fine-tuning on few labels: linear probe, fine-tuned, from scratch and a random forest, at 10 and 100 labels a class.

    python docs/benchmarks/few_labels.py FOLDER --runs RUNS --out OUT

FOLDER has cifar10-train.parquet, cifar10-test.parquet, recordings/ (of the Free Spoken Digit Dataset) and bace.csv;
RUNS has one pretrained run for each set: cifar10 (recipe simclr-cifar10), fsdd (spoken-digits) and bace
(molecules-moses). Every cell is kept in OUT, and found there when the command is given again. All choices are made in
folds of the drawn labels; the test part is read once, for the table.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from kept import kept

import sensorium

SETS = {
    "CIFAR-10": ("cifar10", "splits", "label", "accuracy"),
    "FSDD": ("fsdd", "recordings", "digit", "accuracy"),
    "BACE": ("bace", "bace.csv", "Class", "ROC-AUC"),
}
"""Name -> run, data, label, metric."""
ROWS = ("baseline", "untrained, linear probe", "from scratch", "linear probe", "fine-tuned")


def source(name: str, folder: Path) -> list[str]:
    """Return the overrides that name the labeled records of a set."""
    _, data, label, _ = SETS[name]
    if name == "CIFAR-10":
        splits = f"{{train: {folder / 'cifar10-train.parquet'}, test: {folder / 'cifar10-test.parquet'}}}"
        return [f"data.source.splits={splits}"]
    if name == "FSDD":
        return [f"data.source.path={folder / data}"]
    path = folder / data
    return [f"data.source={{name: molecules, path: {path}, labels: [{label}], split: scaffold}}", "data.max_bad=0.02"]


def measure(name: str, labels: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Fine-tune one run on so many labels a class, and return its table and the minutes that it took."""
    run, _, label, _ = SETS[name]
    out = asked.out / f"{run}-{labels}"
    shutil.rmtree(out, ignore_errors=True)  # of an attempt that was interrupted
    changes = [f"finetune.labels=[{label}]", f"finetune.labels_per_class={labels}", "data.workers=0", "data.cache=ram"]
    if name == "BACE":
        changes.append("finetune.task=multitask")
    start = time.perf_counter()
    done = sensorium.finetune(
        asked.runs / run, [*source(name, asked.folder), *changes, *asked.set], run_dir=out, device="cpu"
    )
    return {"table": done.table.public(), "minutes": (time.perf_counter() - start) / 60}


def line(name: str, labels: int, found: dict[str, Any]) -> str:
    """Return one row of the page."""
    table, metric = found["table"], SETS[name][3]
    scores = [table["rows"][row]["metrics"][metric] for row in ROWS]
    cells = [f"{one['mean']:.3f} ± {one['std_over_seeds']:.3f}" for one in scores]
    return f"| {name}, {labels} | {' | '.join(cells)} | {table['test']} | `{table['split']}` | {found['minutes']:.0f} |"


def main() -> None:
    """Measure every cell, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="where cells are kept, and found when they are there")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--labels", nargs="+", type=int, default=[10, 100])
    parser.add_argument("--set", nargs="*", default=[], help="key=value changes, such as finetune.epochs=20")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| set, labels a class | {' | '.join(ROWS)} | test | split | minutes |\n| --- |{' ---: |' * 8}")
    for name in asked.sets:
        for labels in asked.labels:
            file = asked.out / f"{SETS[name][0]}-{labels}.json"
            found = kept(file, lambda name=name, labels=labels: measure(name, labels, asked))
            print(line(name, labels, found), flush=True)


if __name__ == "__main__":
    main()
