"""What is old and still works says so: one warning, with what to write instead.

The policy (how long what is deprecated goes on working) is `docs/reference/versions.md`.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger("sensorium")


class Deprecated(FutureWarning):
    """Something that still works and will not for ever; a `FutureWarning`, which Python shows by default."""


def deprecated(what: str, instead: str, *, since: str, removal: str) -> None:
    """Warn that something is deprecated; Python shows a warning once for each line that causes it.

    Args:
        what: what is old, the subject of a sentence, such as "The recipe key 'log.wandb'".
        instead: what to write, such as "log.loggers: {wandb: {project: ...}}".
        since: the version of Sensorium that deprecated it, such as "0.2".
        removal: the version that will be without it.
    """
    sentence = f"{what} is deprecated since Sensorium {since} and ends with {removal}: use {instead}."
    warnings.warn(sentence, Deprecated, stacklevel=_first_outside())


@contextmanager
def deprecations_in_log() -> Iterator[None]:
    """Write each of these warnings once into the log, as a sentence without a line of source; others are as before."""
    said: set[str] = set()
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if not issubclass(category, Deprecated):
            before(message, category, *rest, **more)
        elif str(message) not in said:
            said.add(str(message))
            log.warning("%s", message)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


def _first_outside() -> int:
    """Return the `stacklevel` of the first caller outside this package: whose line is to be changed."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "sensorium":
        level, frame = level + 1, frame.f_back
    return level
