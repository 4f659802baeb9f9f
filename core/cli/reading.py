"""Progress of a command that reads every record."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

log = logging.getLogger("sensorium")
SECONDS = 10.0
"""Between lines of progress where there is no terminal."""


@contextmanager
def reading() -> Iterator[Any]:
    """Show a bar on a terminal, a line of the log every few seconds elsewhere, with the rate."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (BarColumn(), TextColumn("{task.completed:,}/{task.total:,} records"), _Rate(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=1, completed=0)
            yield lambda done, count: bar.update(task, completed=done, total=count)
        return
    last, seen = time.monotonic(), 0

    def tell(done: int, count: int) -> None:
        nonlocal last, seen
        if (passed := time.monotonic() - last) >= SECONDS:
            rate = (done - seen) / passed
            last, seen = time.monotonic(), done
            log.info("%s of %s records are read, %s records/s", f"{done:,}", f"{count:,}", f"{rate:,.0f}")

    yield tell


class _Rate(ProgressColumn):
    """Records in a second."""

    def render(self, task: Task) -> Text:
        """Return the rate of late."""
        return Text("" if task.speed is None else f"{task.speed:,.0f} records/s")
