"""Trainings killed at random moments and started again by the same command, compared bit by bit with undisturbed ones.

    python docs/benchmarks/kills.py OUT --kills 20
    python docs/benchmarks/kills.py OUT --kills 10 --ranks 2

Every kill is SIGKILL to a training of its own, at a moment that is uniform over the time that an undisturbed one
takes: while modules are imported, before the first checkpoint, in the training, in the evaluation. Of two ranks, which
torchrun starts, it is to either in turn. Then the same command runs to its end. Weights, the last checkpoint (optimizer
and averaged weights), lines of metrics but for times, and tables must be equal. What is done is in OUT/kills.jsonl, and
is not done again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

WORDS = ["red", "green", "blue", "round", "square", "small", "large", "old", "new", "warm", "cold", "soft"]
TIMES = ("records_per_second", "data_wait")
"""Metrics that differ from run to run."""
ATTEMPTS = 200
"""Looks for a rank that is to be killed, a tenth of a second apart, before it is taken to have ended."""


def write_recipe(folder: Path) -> Path:
    """Write a recipe of 144 pairs of words, with dropout, averaged weights and two evaluators; returns its file."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "pairs.csv").open("w", newline="") as file:
        pairs = ((f"{one} {other}", f"{other[::-1]} {one[::-1]}") for one in WORDS for other in WORDS)
        csv.writer(file).writerows([("said", "mirrored"), *pairs])
    encoder = {"name": "transformer", "width": 32, "depth": 1, "heads": 2, "dropout": 0.1}
    tower = {"modality": {"name": "text", "vocab": 300, "length": 24}, "views": "plain", "encoder": encoder}
    recipe = {
        "data": {
            "source": {"name": "table", "path": str(folder.absolute() / "pairs.csv")},
            **{"batch": 24, "val": 0.1, "test": 0.2, "workers": 1},
        },
        "modalities": {"said": tower, "mirrored": tower},
        "objective": {"name": "clip", "dim": 16},
        "train": {"epochs": 40, "accelerator": "cpu", "ema": 0.9},
        "checkpoint": {"every": 7.5, "format": "file", "best": "health/said RankMe"},
        "log": {"every": 4, "loggers": {"csv": {}}},
        "monitor": {"every": 3},
        "evaluate": {"every": 10, "evaluators": {"retrieval": {"positives": "record"}, "health": {}}},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def start(recipe: Path, run: Path, ranks: int) -> subprocess.Popen[bytes]:
    """Start the command: the same for a training that begins and for one that goes on."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    command = [sys.executable, *launcher, "-m", "sensorium", "train", str(recipe), "--run-dir", str(run)]
    run.parent.mkdir(parents=True, exist_ok=True)
    with open(run.parent / f"{run.name}.log", "ab") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([*command, "--resume", "auto"], stdout=log, stderr=log, env=environment)


def finish(recipe: Path, run: Path, ranks: int) -> float:
    """Run the command to its end; returns its seconds."""
    began = time.monotonic()
    code = start(recipe, run, ranks).wait()
    if code:
        raise SystemExit(f"{run} ended with {code}: see {run.parent / f'{run.name}.log'}.")
    return time.monotonic() - began


def kill(recipe: Path, run: Path, ranks: int, rank: int, moment: float) -> str:
    """Start a training, kill one rank at a moment, and wait for all to end; returns what the folder then holds."""
    process = start(recipe, run, ranks)
    time.sleep(moment)
    if ranks == 1:
        process.kill()
    else:
        for _ in range(ATTEMPTS):
            if process.poll() is not None or (found := next(_ranks(process.pid, rank), None)) is not None:
                break
            time.sleep(0.1)
        if process.poll() is None:
            os.kill(found, signal.SIGKILL)
    process.wait()
    return holds(run)


def _ranks(parent: int, rank: int) -> Iterator[int]:
    """Yield the process of a rank among those that a launcher has started."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_child = int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent
            if is_child and f"RANK={rank}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)
        except OSError:
            continue


def holds(run: Path) -> str:
    """Return what a run folder holds, in words."""
    status = run / "run.json"
    if not status.is_file():
        return "nothing"
    if json.loads(status.read_text())["state"] == "finished":
        return f"the model and {len(list((run / 'evaluations').glob('*.json')))} of 2 tables"
    steps = sorted(int(path.stem.removeprefix("step-")) for path in (run / "checkpoints").glob("step-*"))
    return f"a checkpoint of step {steps[-1]}" if steps else "no checkpoint"


def differences(run: Path, other: Path) -> list[str]:
    """Return what is not equal, bit by bit, in two run folders."""
    found = []
    if not _equal(*(load_file(folder / "model" / "model.safetensors") for folder in (run, other))):
        found.append("weights")
    last = [sorted((folder / "checkpoints").glob("step-*"))[-1] for folder in (run, other)]
    states = [torch.load(path, weights_only=True) for path in last]
    if not all(_equal(states[0][part], states[1][part]) for part in ("step", "learner", "optimizer")):
        found.append("checkpoint")
    if not _equal(*(state["extra"]["average"] for state in states)):
        found.append("averaged weights")
    if _lines(run) != _lines(other):
        found.append("metrics")
    if _tables(run) != _tables(other):
        found.append("tables")
    return found


def _equal(one: Any, other: Any) -> bool:
    """Return whether two nested states have the same keys and the same bits."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def _lines(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def _tables(run: Path) -> dict[str, Any]:
    return {path.name: json.loads(path.read_text()) for path in sorted((run / "evaluations").glob("*.json"))}


def main() -> None:
    """Kill, start again, compare, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    out = asked.out / f"{asked.ranks}-ranks"
    recipe, whole, notes = write_recipe(out), out / "undisturbed", out / "kills.jsonl"
    done = [json.loads(line) for line in notes.read_text().splitlines()] if notes.is_file() else []
    if not (whole / "seconds").is_file():
        (whole / "seconds").write_text(str(finish(recipe, whole, asked.ranks)))
    seconds = float((whole / "seconds").read_text())
    draw = random.Random(asked.seed)
    moments = [draw.uniform(0, seconds) for _ in range(asked.kills)]
    print(f"An undisturbed training takes {seconds:.1f} s.\n\n| rank | killed after | the folder held | equal |")
    print("| ---: | ---: | --- | --- |")
    for number, moment in enumerate(moments):
        if number >= len(done):
            run, rank = out / f"kill-{number:02d}", number % asked.ranks
            held = kill(recipe, run, asked.ranks, rank, moment)
            finish(recipe, run, asked.ranks)
            done.append({"rank": rank, "held": held, "differ": differences(run, whole)})
            with notes.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
        one = done[number]
        equal = "yes" if not one["differ"] else f"no: {', '.join(one['differ'])}"
        print(f"| {one['rank']} | {moment:.1f} s | {one['held']} | {equal} |", flush=True)
    same = sum(not one["differ"] for one in done[: asked.kills])
    print(f"\n{same} of {asked.kills} trainings ended in the same bits.")
    sys.exit(same != asked.kills)


if __name__ == "__main__":
    main()
