"""Signals that ask a program to stop.

Ctrl-C, SIGTERM of whoever ends the job, SIGUSR1 of a scheduler whose time is nearly up, SIGHUP of a terminal that was
closed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name))
"""What asks a program to stop; not every system has all of them."""
Handler = Callable[[int, FrameType | None], object]


class Stopped(KeyboardInterrupt):
    """What such a signal raises where nothing can be finished first; like Ctrl-C it passes `except Exception`.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.number = number


def number_of(error: BaseException | None) -> int:
    """Return the signal that raised a KeyboardInterrupt; SIGINT unless it says otherwise."""
    return getattr(error, "number", signal.SIGINT)


def name_of(number: int) -> str:
    """Return what a person calls a signal."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


@contextmanager
def handled_by(handler: Handler) -> Iterator[None]:
    """Let a handler receive these signals for a while; in the main thread alone; nohup's SIGHUP stays ignored."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        taken = (number for number in SIGNALS if not _is_nohup(number))
        before = {number: signal.signal(number, handler) for number in taken}
    try:
        yield
    finally:
        for number, theirs in before.items():
            signal.signal(number, theirs)


@contextmanager
def raised() -> Iterator[None]:
    """Let these signals raise `Stopped` for a while, but for those that somebody handles already."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        taken = (number for number in SIGNALS if signal.getsignal(number) == signal.SIG_DFL)
        before = {number: signal.signal(number, _raise) for number in taken}
    try:
        yield
    finally:
        for number, theirs in before.items():
            signal.signal(number, theirs)


def _raise(number: int, frame: object) -> None:
    raise Stopped(number)


def _is_nohup(number: int) -> bool:
    return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) == signal.SIG_IGN
