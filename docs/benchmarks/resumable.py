"""Trainings of benchmarks that end at a deadline, and go on when the command is given again."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import sensorium
from sensorium.errors import Interrupted

LEAST = 30.0
"""Seconds that must be left for a training to begin."""


def state(folder: Path) -> str | None:
    """Return the state of a run, None when it has not begun."""
    path = folder / "run.json"
    return json.loads(path.read_text(encoding="utf-8"))["state"] if path.is_file() else None


def fit_until(deadline: float, folder: Path, recipe: str, overrides: Sequence[str]) -> bool:
    """Train or resume one run; returns whether it came to its end before the deadline.

    Args:
        deadline: of `time.monotonic`.
        folder: the run folder; `seconds.jsonl` beside it has the wall time of every attempt.
        recipe: its recipe.
        overrides: changes to it.
    """
    if state(folder) == "finished":
        return True
    left = deadline - time.monotonic()
    if left < LEAST:
        return False
    timer = threading.Timer(left, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    start = time.monotonic()
    try:
        if list(folder.glob("checkpoints/step-*")):
            sensorium.fit(resume=folder)
        else:
            sensorium.fit(recipe, overrides, run_dir=folder)
    except Interrupted:
        return False
    finally:
        timer.cancel()
        with open(folder.parent / "seconds.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"run": folder.name, "seconds": time.monotonic() - start}) + "\n")
    return True


def seconds_of(folder: Path) -> float:
    """Return the wall time of all attempts at a run."""
    times = folder.parent / "seconds.jsonl"
    lines = times.read_text(encoding="utf-8").splitlines() if times.is_file() else []
    return sum(one["seconds"] for one in map(json.loads, lines) if one["run"] == folder.name)
