"""What commands share in speaking to a person."""

from __future__ import annotations

import logging
import sys
from typing import TextIO


class _ToStandardError(logging.StreamHandler):
    """Writes to whatever standard error is at the time; what the program tells by itself is left to it."""

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        pass

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(record, "told_by_program", False)


def show_log() -> None:
    """Send the log to standard error: information from rank 0, warnings from every rank."""
    from sensorium.training.fabric import launching_rank

    logger = logging.getLogger("sensorium")
    logger.setLevel(logging.INFO)
    if not any(isinstance(handler, _ToStandardError) for handler in logger.handlers):
        handler = _ToStandardError()
        handler.setLevel(logging.INFO if launching_rank() == 0 else logging.WARNING)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
