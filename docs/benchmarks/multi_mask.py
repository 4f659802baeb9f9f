"""data2vec with several masked copies of each record for one pass of the teacher: teacher passes, seconds, kNN.

    python docs/benchmarks/multi_mask.py --steps 400 --seeds 0 1 2

Every row trains on as many masked copies: with M masks the batch has 128 / M records. The student sees mask tokens, or
the visible tokens alone (data2vec 2.0). CPU seconds are those of the process, with one thread; the kNN is that of the
recipe on the test part.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path

from kept import kept

import sensorium
from sensorium.evaluation.tables import Metric

COPIES = 128
MASKS = (1, 4, 8)
STUDENTS = {"mask tokens": [], "visible tokens alone": ["objective.visible_only=true"]}


class Clock(sensorium.Callback):
    """Takes the CPU seconds of the loop alone."""

    seconds = 0.0

    def before_training(self, training):
        """Start."""
        self.seconds -= time.process_time()

    def after_training(self, training):
        """Stop."""
        self.seconds += time.process_time()


def one(masks: int, student: str, seed: int, steps: int) -> dict[str, float]:
    """Train one row, and return teacher passes of a record, CPU seconds of the training and the metrics."""
    overrides = [
        f"seed={seed}",
        f"train.steps={steps}",
        f"data.batch={COPIES // masks}",
        f"objective.masks={masks}",
        *STUDENTS[student],
        *(["objective.width=96", "objective.depth=1"] if STUDENTS[student] else []),
        "log.loggers={}",
    ]
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        model = sensorium.fit("data2vec", overrides, run_dir=Path(folder) / "run", callbacks=clock)
        file = model.run.evaluations / "knn.json"
        rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    accuracy = {row: rows[row]["metrics"]["accuracy"]["mean"] for row in ("untrained", "trained")}
    return {"passes": steps * COPIES / masks, "seconds": clock.seconds, **accuracy}


def main() -> None:
    """Print a table; a row that is in the folder of results is not trained again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--results", type=Path, default=Path("multi-mask"))
    options = parser.parse_args()
    found = {(student, masks): [] for student in STUDENTS for masks in MASKS}
    for seed in options.seeds:
        for (student, masks), runs in found.items():
            file = options.results / f"{seed} {student}, {masks}.json"
            runs.append(kept(file, partial(one, masks, student, seed, options.steps)))
    print(f"| student sees | masks | teacher passes | CPU seconds | kNN, {len(options.seeds)} seeds | untrained |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for (student, masks), runs in found.items():
        cells = [str(Metric([[run[name]] for run in runs])) for name in ("trained", "untrained")]
        seconds = sum(run["seconds"] for run in runs) / len(runs)
        print(
            f"| {student} | {masks} | {runs[0]['passes']:,.0f} | {seconds:.0f} | {cells[0]} | {cells[1]} |", flush=True
        )


if __name__ == "__main__":
    main()
