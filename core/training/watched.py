"""A training whose ranks watch each other: what is said, and kept, when one of them is lost."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from lightning_fabric import Fabric

from sensorium.errors import SensoriumError, TrainingError
from sensorium.parallel.watch import Watch
from sensorium.runs.run import Run

log = logging.getLogger("sensorium")


@contextmanager
def watched(fabric: Fabric, run: Run, timeout: float) -> Iterator[None]:
    """Let ranks watch each other for a while; a collective operation.

    Args:
        fabric: launched.
        run: the run folder, which the sentence names.
        timeout: seconds after which a rank hangs (`train.timeout`).

    Raises:
        TrainingError: when another rank failed, or was lost. When one hangs, the process is ended: its main thread
            waits for that rank, and cannot be told.
    """
    if fabric.world_size == 1:
        yield
        return

    def end(sentence: str) -> NoReturn:
        log.error("%s %s", sentence, _advice(run), extra={"shown_by_program": True})
        print(f"Error: {sentence} {_advice(run)}", file=sys.stderr, flush=True)
        if fabric.is_global_zero:
            run.update(state="failed")
        for worker in multiprocessing.active_children():
            worker.kill()
        os._exit(TrainingError.code)

    watch = Watch(timeout, end)
    _dismiss_observer()
    try:
        yield
    except Exception as error:
        if isinstance(error, SensoriumError) or (lost := watch.explain(error)) is None:
            watch.leave(str(error) or type(error).__name__)
            raise
        watch.leave()
        raise TrainingError(f"{lost} {_advice(run)}") from error
    finally:
        watch.leave()


def _advice(run: Run) -> str:
    return f"The training stops; continue with `sensorium train --resume {run.folder}`."


def _dismiss_observer() -> None:
    """Let Fabric's thread end that kills rank 0, without a word, when a rank that it started fails."""
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            thread._run = lambda: True  # type: ignore[attr-defined]
