"""The log as a person sees it: on standard error, next to the progress bar."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

from rich.console import Console


class _ToStandardError(logging.StreamHandler):
    """Writes to the current standard error and draws tables; leaves out what the program prints itself."""

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        pass

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(record, "shown_by_program", False)

    def emit(self, record: logging.LogRecord) -> None:
        table = getattr(record, "table", None)
        if table is None:
            super().emit(record)
            return
        from sensorium.cli.tables import print_tables

        print_tables([table], Console(file=self.stream))


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
