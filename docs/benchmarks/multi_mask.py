"""data2vec with several masked copies of each record for one pass of the teacher: teacher passes, seconds, kNN.

    python docs/benchmarks/multi_mask.py --steps 400 --seeds 0 1 2

Every row trains on as many masked copies: with M masks the batch has 128 / M records. The student sees mask tokens, or
the visible tokens alone (data2vec 2.0). CPU seconds are those of the process, with one thread; the kNN is that of the
recipe on the test part. Before them the operations of one step are counted, which no other process changes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from kept import kept
from torch.utils.flop_counter import FlopCounterMode

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


def operations(masks: int, student: str, patch: int) -> float:
    """Return the billions of floating-point operations of one step, backward included, with batches as in the rows."""
    transform = sensorium.views.image.plain(size=32)
    encoder = sensorium.build("encoder", "vit", transform.modality, patch=patch, width=96, depth=3, heads=3)
    options = {"visible_only": True, "width": 96, "depth": 1} if STUDENTS[student] else {}
    learner = sensorium.Learner({"image": encoder}, sensorium.build("objective", "data2vec", masks=masks, **options))
    images = torch.randint(0, 256, (COPIES // masks, 3, 32, 32), dtype=torch.uint8)
    torch.backends.mha.set_fastpath_enabled(False)  # whose operations are not counted
    with FlopCounterMode(display=False) as counter:
        learner.train()(transform.views(images)).loss.backward()
    torch.backends.mha.set_fastpath_enabled(True)
    return counter.get_total_flops() / 1e9


def main() -> None:
    """Print a table; a row that is in the folder of results is not trained again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--results", type=Path, default=Path("multi-mask"))
    options = parser.parse_args()
    print("| billions of operations a step | " + " | ".join(f"{masks} masks" for masks in MASKS) + " |")
    print("| --- |" + " ---: |" * len(MASKS))
    for patch in (8, 4):
        for student in STUDENTS:
            cells = [f"{operations(masks, student, patch):.1f}" for masks in MASKS]
            print(f"| {student}, {(32 // patch) ** 2} patches | {' | '.join(cells)} |", flush=True)
    print()
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
