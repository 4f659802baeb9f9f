"""The progress of a training: loss, records per second, fraction of time waiting for data, time left."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from sensorium.progress_bar import ProgressBar

log = logging.getLogger("sensorium")
T = TypeVar("T")
MEASURED = 4
"""Steps after which the duration of a training is told; the first is not typical."""


class Meter:
    """Measures throughput and the time spent waiting for data.

    Args:
        batch: global batch size.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self._reset()

    def _reset(self) -> None:
        self._steps, self._waited, self._start = 0, 0.0, time.perf_counter()

    def waiting(self, items: Iterable[T]) -> Iterator[T]:
        """Iterate over items, measuring the time spent waiting for them."""
        iterator = iter(items)
        while True:
            asked = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self._waited += time.perf_counter() - asked
            self._steps += 1
            yield item

    def read(self) -> dict[str, float]:
        """Return the metrics since the last call: `records_per_second`, `data_wait` (fraction of the time)."""
        elapsed = max(time.perf_counter() - self._start, 1e-9)
        metrics = {
            "records_per_second": self._steps * self.batch / elapsed,
            "data_wait": self._waited / elapsed,
        }
        self._reset()
        return metrics


class FirstSteps:
    """Says after the first steps how long the training takes, if they are slow.

    Args:
        total: number of steps.
        done: steps done before a resume.
        slow: seconds of a first step that are said.
        long: hours to go of which a warning is given, with what to lower.
    """

    def __init__(self, total: int, done: int, slow: float = 10.0, long: float = 3.0) -> None:
        self.total, self.done, self.slow, self.long = total, done, slow, long
        self._ends = [time.monotonic()]

    def after(self, step: int) -> None:
        """Note that `step` steps are done."""
        number = step - self.done
        if number > MEASURED:
            return
        self._ends.append(time.monotonic())
        first, left = self._ends[1] - self._ends[0], self.total - step
        if number == 1 and first > self.slow:
            log.info(
                "The first step took %.0f s, with what is done once; at that rate %s steps take %.1f hours.",
                *(first, f"{left:,}", first * left / 3600),
            )
        seconds = (self._ends[-1] - self._ends[1]) / (MEASURED - 1)
        if number == MEASURED and seconds * left > self.long * 3600:
            log.warning(
                "A step takes %.3g s: about %.1f hours to go for %s steps. To lower: train.epochs (or train.steps), "
                "the size of the values and of the encoder; `sensorium doctor RECIPE` says what takes the time.",
                *(seconds, seconds * left / 3600, f"{left:,}"),
            )


class ProgressLine:
    """The bar of a training, with the metrics of its last steps.

    Args:
        total: number of steps.
        done: steps done before a resume.
    """

    def __init__(self, total: int, done: int) -> None:
        self._bar = ProgressBar(total, done, seconds=10.0, counted=True)

    def show(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the metrics after `step` steps."""
        text = (
            f"loss {metrics['loss']:.4f} · {metrics['records_per_second']:,.0f} records/s · "
            f"waiting for data {metrics['data_wait']:.0%} · {self._bar.time_left(step)} left"
        )
        total = self._bar.total
        self._bar.show(step, text, line=f"step {step}/{total} · ", now=step == total)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()
