"""Ctrl-C and the other signals that ask to stop.

The first ends a command with one sentence, the second ends the process at once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sensorium.interruption import SIGNALS, Stopped

UNHANDLED = (signal.SIG_DFL, signal.default_int_handler)


class Interruption:
    """Which signal came; an exception that follows may be its consequence, whatever its type."""

    received: int | None = None

    def receive(self, number: int, frame: object) -> None:
        """End the command; this is the handler of the first signal."""
        self.received = number
        for each in SIGNALS:
            if signal.getsignal(each) == self.receive:
                signal.signal(each, _exit_now)
        raise Stopped(number)


@contextmanager
def handled() -> Iterator[Interruption]:
    """Handle these signals for the length of a command, unless somebody else does; the way out is left undisturbed."""
    interruption, before = Interruption(), {}
    if threading.current_thread() is threading.main_thread():
        taken = (number for number in SIGNALS if signal.getsignal(number) in UNHANDLED)
        before = {number: signal.signal(number, interruption.receive) for number in taken}
    try:
        yield interruption
    finally:
        if interruption.received is None:
            for number, theirs in before.items():
                signal.signal(number, theirs)


def _exit_now(number: int, frame: object) -> None:
    for process in multiprocessing.active_children():
        process.terminate()
    if sys.stderr.isatty():
        os.write(2, b"\x1b[?25h\n")  # a progress bar had hidden the cursor
    os._exit(128 + number)
