"""How far a pass over many records is: how many, at what rate, how long it still takes."""

from __future__ import annotations

import logging
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

log = logging.getLogger("sensorium")


class Countdown:
    """A progress bar on a terminal, a log line at intervals elsewhere.

    Args:
        what: what is done, such as "embedding".
        total: number of records.
        done: records that were done before.
        seconds: interval of log lines where there is no terminal.
    """

    def __init__(self, what: str, total: int, done: int = 0, seconds: float = 30.0) -> None:
        self.what, self.total, self.first, self.done, self.seconds = what, total, done, done, seconds
        self.start = self._last = time.monotonic()
        console = Console(stderr=True)
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(BarColumn(), TextColumn("{task.description}"), console=console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=total, completed=done)

    @property
    def rate(self) -> float:
        """Records per second since the start."""
        return (self.done - self.first) / max(time.monotonic() - self.start, 1e-9)

    def add(self, count: int) -> None:
        """Note that `count` more records are done."""
        self.done = min(self.done + count, self.total)
        now, rate = time.monotonic(), max(self.rate, 1e-9)
        text = (
            f"{self.what}: {self.done:,} of {self.total:,} records · {rate:,.0f} records/s · "
            f"{_clock((self.total - self.done) / rate)} left"
        )
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, description=text)
        elif now - self._last >= self.seconds:
            self._last = now
            log.info("%s", text)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
