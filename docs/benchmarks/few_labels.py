"""Learning curves: fine-tuned, linear probe, from scratch and a random forest, from ten labels a class to all.

    python docs/benchmarks/few_labels.py FOLDER --runs RUNS --out OUT

FOLDER has cifar10-train.parquet, cifar10-test.parquet, recordings/ (of the Free Spoken Digit Dataset) and bace.csv;
RUNS has one pretrained run for each set: cifar10 (recipe simclr-cifar10), fsdd (spoken-digits), bace
(molecules-moses) and italy (ts2vec of ItalyPowerDemand, which needs no file). The curve of a set is kept in OUT, and
found there when the command is given again. All choices are made in folds of the drawn labels; the test part is read
once, for the table.
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
    "ItalyPowerDemand": ("italy", "", "class", "accuracy"),
}
"""Name -> run, data, label, metric."""
ROWS = ("baseline", "untrained, linear probe", "from scratch", "linear probe", "fine-tuned")


def source(name: str, folder: Path) -> list[str]:
    """Return the overrides that name the labeled records of a set."""
    _, data, label, _ = SETS[name]
    if not data:  # the run's own source
        return []
    if name == "CIFAR-10":
        splits = f"{{train: {folder / 'cifar10-train.parquet'}, test: {folder / 'cifar10-test.parquet'}}}"
        return [f"data.source.splits={splits}"]
    if name == "FSDD":
        return [f"data.source.path={folder / data}"]
    path = folder / data
    return [f"data.source={{name: molecules, path: {path}, labels: [{label}], split: scaffold}}", "data.max_bad=0.02"]


def measure(name: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Fine-tune one run on every amount of labels, and return the curve and the minutes that it took."""
    run, _, label, _ = SETS[name]
    out = asked.out / run
    shutil.rmtree(out, ignore_errors=True)  # of an attempt that was interrupted
    changes = [
        f"finetune.labels=[{label}]",
        f"finetune.labels_per_class={asked.labels or 'null'}",
        f"finetune.label_fraction={asked.fractions or 'null'}",
        "data.workers=0",
        "data.cache=ram",
    ]
    if name == "BACE":
        changes.append("finetune.task=multitask")
    start = time.perf_counter()
    done = sensorium.finetune(
        asked.runs / run, [*source(name, asked.folder), *changes, *asked.set], run_dir=out, device="cpu"
    )
    return {"curve": done.shown.public(), "minutes": (time.perf_counter() - start) / 60}


def lines(name: str, found: dict[str, Any]) -> list[str]:
    """Return the rows of the page for one set: one for each amount of labels."""
    rows, metric, written = found["curve"]["rows"], SETS[name][3], []
    for column in rows["fine-tuned"]["metrics"]:
        scores = [rows[row]["metrics"][column] for row in ROWS]
        cells = [f"{one['mean']:.3f} ± {one['std_over_seeds']:.3f}" for one in scores]
        written.append(f"| {name}, {column.removesuffix(f', {metric}')} | {' | '.join(cells)} |")
    return written


def main() -> None:
    """Measure every curve, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="where curves are kept, and found when they are there")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--labels", nargs="*", type=int, default=[10, 50, 100], help="labels a class")
    parser.add_argument("--fractions", nargs="*", type=float, default=[0.01, 0.1, 1.0], help="of all labels")
    parser.add_argument("--set", nargs="*", default=[], help="key=value changes, such as finetune.epochs=20")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| set, labels | {' | '.join(ROWS)} |\n| --- |{' ---: |' * len(ROWS)}")
    for name in asked.sets:
        found = kept(asked.out / f"{SETS[name][0]}.json", lambda name=name: measure(name, asked))
        print("\n".join(lines(name, found)), flush=True)
        curve = found["curve"]
        print(f"{name}: test {curve['test']}, split `{curve['split']}`, {found['minutes']:.0f} minutes", flush=True)


if __name__ == "__main__":
    main()
