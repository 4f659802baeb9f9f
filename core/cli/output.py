"""The log as a person sees it: on standard error, next to the progress bar."""

from __future__ import annotations

import logging
import sys
import textwrap
from contextlib import suppress
from typing import TextIO

from rich.console import Console


class _ToStandardError(logging.StreamHandler):
    """Writes to the current standard error; leaves out what the program prints itself.

    A record's `table` is drawn; on a terminal a record with an `indent` is wrapped between words under that indent.
    """

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        pass

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(record, "shown_by_program", False)

    def format(self, record: logging.LogRecord) -> str:
        text, indent = super().format(record), getattr(record, "indent", None)
        console = Console(file=self.stream)
        if indent is None or not console.is_terminal:
            return text
        return wrap(text, console.width, indent)

    def emit(self, record: logging.LogRecord) -> None:
        table = getattr(record, "table", None)
        if table is None:
            super().emit(record)
            return
        from sensorium.cli.tables import print_tables

        print_tables([table], Console(file=self.stream))


def wrap(text: str, width: int, indent: int = 0) -> str:
    """Break a text between words at a width; every line after the first starts with `indent` spaces."""
    width, hanging = max(width, 2 * indent, 1), " " * indent
    return textwrap.fill(text, width, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)


WIDE = 10_000
"""Columns of what is not a terminal: a listing in a pipe or file is not cut off."""


def listing_console() -> Console:
    """Return a console on standard output, as wide as the terminal, or, where there is none, as any line."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDE, soft_wrap=False)


def print_error(sentence: str) -> None:
    """Print a sentence on standard error, wrapped between words if that is a terminal."""
    console = Console(stderr=True)
    with suppress(OSError):  # of a terminal that was closed
        print(wrap(sentence, console.width) if console.is_terminal else sentence, file=sys.stderr)


def reflow(text: str) -> str:
    """Join the lines of each paragraph and list item, so that the terminal, not the source, decides where a line ends.

    Args:
        text: a docstring without its common indentation; lines indented by four spaces or more are code and stay.
    """
    lines: list[str] = []
    for line in text.splitlines():
        starts = not line.strip() or line.startswith(("- ", "    ", "```")) or not lines
        if starts or not lines[-1] or lines[-1].startswith(("    ", "```")):
            lines.append(line)
        else:
            lines[-1] += f" {line.strip()}"
    return "\n".join(lines)


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
