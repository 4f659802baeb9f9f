"""How far a long pass is: a bar on a terminal, a line of the log at intervals elsewhere."""

from __future__ import annotations

import logging
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

log = logging.getLogger("sensorium")


class ProgressBar:
    """A progress bar on a terminal, a log line at intervals elsewhere.

    Args:
        total: how much there is to do.
        done: how much was done before.
        seconds: interval of log lines where there is no terminal.
        counted: whether the bar shows the two numbers, where the text does not.
    """

    def __init__(self, total: int, done: int = 0, seconds: float = 30.0, counted: bool = False) -> None:
        self.total, self.first, self.seconds = total, done, seconds
        self._start = self._last = time.monotonic()
        console = Console(stderr=True)
        self._bar: Progress | None = None
        if console.is_terminal:
            count = (TextColumn("{task.completed}/{task.total}"),) if counted else ()
            columns = (BarColumn(), *count, TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=total, completed=done)

    def rate(self, done: int) -> float:
        """Return how much was done a second, since the start, when `done` is done."""
        return (done - self.first) / max(time.monotonic() - self._start, 1e-9)

    def time_left(self, done: int) -> str:
        """Return how long the rest takes at this rate, as "1:02:03" or "2:03"."""
        minutes, seconds = divmod(round((self.total - done) / max(self.rate(done), 1e-9)), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"

    def show(self, done: int, text: str, line: str = "", now: bool = False) -> None:
        """Show a text beside the bar.

        Args:
            done: how much is done.
            text: beside the bar.
            line: what stands before the text in the log.
            now: whether the log has it at any rate.
        """
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=text)
        elif now or time.monotonic() - self._last >= self.seconds:
            self._last = time.monotonic()
            log.info("%s%s", line, text)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()


class RecordsBar(ProgressBar):
    """The bar of a pass over records: how many are done, at what rate, how long it still takes.

    Args:
        what: what is done, such as "embedding".
        total: number of records.
        done: records that were done before.

    Attributes:
        done: how many are done.
    """

    def __init__(self, what: str, total: int, done: int = 0) -> None:
        super().__init__(total, done)
        self.what, self.done = what, done

    def add(self, count: int) -> None:
        """Note that `count` more records are done."""
        self.done = done = min(self.done + count, self.total)
        rate, left = self.rate(done), self.time_left(done)
        self.show(done, f"{self.what}: {done:,} of {self.total:,} records · {rate:,.0f} records/s · {left} left")
