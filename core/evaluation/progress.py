"""What an evaluation is doing, and how long each of its steps took."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console

log = logging.getLogger("sensorium")
HEARTBEAT = 30.0
"""Seconds after which, and at which intervals, a step says that it is still running where there is no terminal."""


@contextmanager
def timed(step: str) -> Iterator[None]:
    """Show a step while it runs, and log how long it took when it is done."""
    console = Console(stderr=True)
    start = time.perf_counter()
    with console.status(f"{step} ...") if console.is_terminal else _heartbeat(step):
        yield
    log.info("%s: %.1f s", step, time.perf_counter() - start)


@contextmanager
def _heartbeat(step: str) -> Iterator[None]:
    done = threading.Event()

    def beat() -> None:
        seconds = 0.0
        while not done.wait(HEARTBEAT):
            seconds += HEARTBEAT
            log.info("%s: running for %.0f s", step, seconds)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def untimed(step: str) -> nullcontext[None]:
    """Show nothing, as during a training."""
    return nullcontext()
