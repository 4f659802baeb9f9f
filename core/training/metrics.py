"""Metrics of a run: JSON lines, which are its own record, and the loggers of its recipe."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sensorium.contracts import Ending, Logger
from sensorium.errors import PluginError, RunError
from sensorium.registration.registry import one_line
from sensorium.runs.atomic import not_written, write_atomically
from sensorium.runs.run import Run

log = logging.getLogger("sensorium")


class MetricsLog:
    """Writes metrics to `metrics.jsonl` and to every logger of a recipe; one object, on rank 0.

    Args:
        run: the run folder.
        loggers: name -> makes the logger.
        recipe: the resolved recipe, as plain values.
        step: the step to start from; lines of later steps, from before a resume, are dropped.

    Raises:
        PluginError: when a logger cannot begin.
    """

    def __init__(
        self,
        run: Run,
        loggers: Mapping[str, Callable[[], Logger]] | None = None,
        recipe: Mapping[str, Any] | None = None,
        step: int = 0,
    ) -> None:
        self._drop_after(run, step)
        self._lines = open(run.metrics_file, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()
        self._step, self._folder = step, run.folder
        self._loggers: dict[str, Logger] = {}
        for name, make in (loggers or {}).items():
            try:
                self._loggers[name] = make()
                self._loggers[name].start(run.folder, recipe or {}, step)
            except Exception as error:  # of a logger that anybody may have written
                raise PluginError(
                    f"The logger '{name}' cannot begin: {one_line(error)}. Correct log.loggers.{name}, or take it away."
                ) from error

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of one step.

        Raises:
            RunError: when the disk refuses the line of the run's own record.
        """
        line = json.dumps({"step": step, **metrics}) + "\n"
        try:
            self._lines.write(line)
            self._lines.flush()
        except OSError as error:
            raise RunError(not_written(Path(self._lines.name), error)) from error
        self.log(step, metrics)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Give metrics of one step to the loggers alone."""
        self._step = step
        self._each(lambda logger: logger.log(step, metrics))

    def log_file(self, path: Path) -> None:
        """Give a file of the run folder to the loggers."""
        self._each(lambda logger: logger.log_file(path))

    def close(self, ending: Ending) -> None:
        """Close the record and the loggers."""
        with suppress(OSError):  # of a full disk, of which `write` has told
            self._lines.close()
        self._each(lambda logger: logger.close(ending))
        self._loggers.clear()

    def _each(self, call: Callable[[Logger], None]) -> None:
        """Call every logger; one that fails is named once and left out from then on."""
        for name, logger in list(self._loggers.items()):
            try:
                call(logger)
            except Exception as error:
                del self._loggers[name]
                log.warning(
                    "The logger '%s' failed at step %d and gets no more metrics: %s. All are in %s.",
                    *(name, self._step, one_line(error), self._folder / "metrics.jsonl"),
                )

    @staticmethod
    def _drop_after(run: Run, step: int) -> None:
        if not run.metrics_file.exists():
            return
        lines = run.metrics_file.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _step_of(line) <= step]
        text = "".join(line + "\n" for line in kept)
        write_atomically(run.metrics_file, lambda path: path.write_text(text, encoding="utf-8"))


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):  # a line cut off in mid-write
        return float("inf")
