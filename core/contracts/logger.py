"""Where the metrics of a run are written besides its folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

Ending = Literal["finished", "interrupted", "failed"]
"""How a training ended."""


class Logger(ABC):
    """Writes the metrics of a run somewhere: to a file, a server, a screen. It is used on rank 0 alone.

    The run keeps a record of its own, `metrics.jsonl`, whatever its loggers do. So a logger that fails in `start` is an
    error before the training; one that fails later is named in a warning, and the training goes on without it.
    """

    def start(self, folder: Path, recipe: Mapping[str, Any], step: int) -> None:
        """Begin, or continue after a resume.

        Args:
            folder: the run folder, in which a logger may keep files of its own name; its name is that of the run.
            recipe: the resolved recipe as plain values.
            step: number of steps done: 0 for a training that begins. What was logged for later steps will come again.
        """

    @abstractmethod
    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write metrics after `step` steps; further ones of the same step may follow.

        Args:
            step: number of steps done; never smaller than before.
            metrics: name -> value: of the training, such as "loss"; of evaluations on the val part,
                "val/TABLE/METRIC"; of the final one, "test/TABLE/METRIC". The smaller the better where the name ends in
                " ↓".
        """

    def log_file(self, path: Path) -> None:
        """Take a file of the run folder that is whole: a result table or an image of the final evaluation."""

    def close(self, ending: Ending) -> None:
        """Write what is left, and end."""
