"""Ctrl-C: the first ends a command with one sentence, the second ends the process at once, neither with a traceback."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CODE = 128 + signal.SIGINT
"""The exit code of a command that Ctrl-C ended."""


class Interruption:
    """Whether Ctrl-C was pressed; an exception that follows may be its consequence, whatever its type."""

    received = False

    def receive(self, *_: object) -> None:
        """End the command; this is the handler of the first Ctrl-C."""
        self.received = True
        signal.signal(signal.SIGINT, _exit_now)
        raise KeyboardInterrupt


@contextmanager
def handled() -> Iterator[Interruption]:
    """Handle Ctrl-C for the length of a command, unless somebody else does; the way out of one is left undisturbed."""
    interruption = Interruption()
    is_main = threading.current_thread() is threading.main_thread()
    is_ours = is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_ours:
        signal.signal(signal.SIGINT, interruption.receive)
    try:
        yield interruption
    finally:
        if is_ours and not interruption.received:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit_now(*_: object) -> None:
    for process in multiprocessing.active_children():
        process.terminate()
    if sys.stderr.isatty():
        os.write(2, b"\x1b[?25h\n")  # a progress bar had hidden the cursor
    os._exit(CODE)
