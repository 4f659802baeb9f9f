"""Continuing on images: a small transformer that was pretrained on photographs, continued on drawings.

    python docs/benchmarks/continue_image.py cifar10-train.parquet cifar10-test.parquet --runs runs/continue-image

For each seed one encoder is pretrained on 10,000 photographs of CIFAR-10 without their labels, and then continued on
the 1,918 drawings of OpenMoji; beside it the same training starts from random weights. All runs on drawings have the
same number of steps. Probes learn the category of a drawing; the test part of the photographs is the reference set,
which says what a run forgot. Repeat the command until it prints that all is done: it resumes a training that ran out of
time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import pyarrow.parquet as parquet
from kept import kept
from resumable import fit_until, state

import sensorium

RECIPE = "simclr"
ENCODER = "modalities.image.encoder={name: vit, patch: 8, width: 96, depth: 3, heads: 3}"
PHOTOGRAPHS = (
    ENCODER,
    "modalities.image.views={name: simclr}",
    "train.steps=800",
    "evaluate.evaluators={}",
    "checkpoint.every=0.2",
)
DRAWINGS = (ENCODER, "train.steps=250", "evaluate.evaluators={}", "checkpoint.every=0.5")
STARTS: dict[str, tuple[str, ...]] = {
    "from scratch, lr 2e-3": (),
    "continued, lr 2e-3": ("weights",),
    "continued, lr 2e-4, layer decay .75": ("weights", "optimizer.lr=2e-4", "modalities.image.layer_decay=0.75"),
}
"""What is trained on drawings, by its row; `weights` stands for those of the run on photographs."""
ROWS, TEST_ROWS = 10_000, 2_000
DRAWN = "data.source={name: openmoji, size: 32, tones: false}"
OF_DRAWINGS = {"knn": {"name": "knn", "label": "category"}, "linear": {"name": "linear", "label": "category"}}
OF_PHOTOGRAPHS = {"reference": {"name": "knn", "label": "label"}}
COLUMNS = ("knn", "linear", "reference")
HEADING = "| drawings: kNN | drawings: linear | photographs: kNN |"


def main() -> None:
    """Train what is not yet trained until the deadline, measure what is, and print the table."""
    asked = arguments()
    asked.runs.mkdir(parents=True, exist_ok=True)
    photographs = first_rows(asked)
    deadline, is_done = time.monotonic() + 60 * asked.minutes, True
    for seed in range(asked.seeds):
        pretrained = asked.runs / f"photographs-{seed}"
        is_done &= fit_until(deadline, pretrained, RECIPE, [photographs, *PHOTOGRAPHS, f"seed={seed}"])
        for row, changes in STARTS.items():
            if state(pretrained) == "finished":
                named = [f"modalities.image.weights={pretrained}" if c == "weights" else c for c in changes]
                folder = asked.runs / f"{slug(row)}-{seed}"
                is_done &= fit_until(deadline, folder, RECIPE, [*DRAWINGS, *named, f"seed={seed}"])
    print("All is done." if is_done else "The time is up: give the command again to go on.")
    print(table(asked, photographs))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/continue-image"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=9.5, help="after which a training is stopped, to be resumed")
    return parser.parse_args()


def first_rows(asked: argparse.Namespace) -> str:
    """Return the override that names the first rows of both tables, written beside the runs."""
    paths = {}
    for part, rows in (("train", ROWS), ("test", TEST_ROWS)):
        paths[part] = asked.runs / f"{part}.parquet"
        if not paths[part].exists():
            parquet.write_table(parquet.read_table(getattr(asked, part)).slice(0, rows), paths[part])
    splits = f"{{train: {paths['train']}, test: {paths['test']}}}"
    return f"data.source={{name: table, splits: {splits}, columns: {{image: image}}, labels: [label]}}"


def slug(row: str) -> str:
    """Return the name of a row as that of a folder."""
    return "".join(letter if letter.isalnum() else "-" for letter in row).replace("--", "-")


def measured(folder: Path, photographs: str) -> dict[str, dict[str, float | str]]:
    """Return the accuracies of a run by row (untrained, trained), and the hashes of the splits."""
    found = {
        **sensorium.evaluate(folder, OF_DRAWINGS, [DRAWN]),
        **sensorium.evaluate(folder, OF_PHOTOGRAPHS, [photographs]),
    }
    rows = ("untrained", "trained")
    accuracies = {row: {name: t.row(row).metrics["accuracy"].mean for name, t in found.items()} for row in rows}
    return {**accuracies, "splits": {name: t.split for name, t in found.items()}}


def table(asked: argparse.Namespace, photographs: str) -> str:
    """Return the means and standard deviations over the seeds of all finished runs."""
    lines, splits = [f"| start {HEADING}", "| --- | ---: | ---: | ---: |"], {}
    for name, rows in {"photographs": {"untrained": "untrained", "as it came, frozen": "trained"}, **STARTS}.items():
        folders = [asked.runs / f"{slug(name)}-{seed}" for seed in range(asked.seeds)]
        done = [folder for folder in folders if state(folder) == "finished"]
        found = [kept(asked.runs / "measured" / f"{f.name}.json", lambda f=f: measured(f, photographs)) for f in done]
        for shown, row in (rows if isinstance(rows, dict) else {name: "trained"}).items():
            lines += [line(shown, [each[row] for each in found])] if found else []
        splits |= found[0]["splits"] if found else {}
    return "\n".join([*lines, "", f"splits: {splits}"])


def line(row: str, values: list[dict[str, float]]) -> str:
    """Return one line: mean ± standard deviation of each column."""
    cells = []
    for column in COLUMNS:
        numbers = [value[column] for value in values]
        spread = f" ± {statistics.stdev(numbers):.3f}" if len(numbers) > 1 else ""
        cells.append(f"{statistics.mean(numbers):.3f}{spread}")
    return f"| {row} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
