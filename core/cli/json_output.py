"""Standard output under `--json`: the command's JSON and nothing else, whatever plugins and libraries print."""

from __future__ import annotations

import ctypes
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TextIO

_ours: list[TextIO] = []
"""Standard output itself, while everything else that is printed goes to standard error."""
_give_back: list[Callable[[], None]] = []


def print_json(value: Any) -> None:
    """Print what a command found as JSON, null for what is no finite number."""
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False, default=str)
    print(text, file=_ours[-1] if _ours else sys.stdout, flush=True)


def _finite(value: Any) -> Any:
    """Return a value in which null stands for nan and infinity, which JSON has not."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def only_json() -> Iterator[None]:
    """Send what is printed meanwhile, by Python or by C, to standard error; `print_json` writes to standard output."""
    shown = sys.stdout
    shown.flush()
    kept = os.dup(1)
    ours = os.fdopen(os.dup(kept), "w", encoding=shown.encoding) if _descriptor(shown) == 1 else shown
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    _ours.append(ours)

    def give_back() -> None:
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).fflush(None)  # what C has printed and not yet written
        os.dup2(kept, 1)
        os.close(kept)
        sys.stdout = shown
        _ours.pop()
        if ours is not shown:
            with suppress(OSError):  # of a pipe that was closed
                ours.close()

    _give_back.append(give_back)
    try:
        yield
    finally:
        leave_stdout()


def leave_stdout() -> None:
    """Give standard output back before the end, to a command of a plugin: it prints its JSON itself."""
    if _give_back:
        _give_back.pop()()


def _descriptor(stream: TextIO) -> int | None:
    with suppress(OSError, ValueError):  # of a stream that is no file
        return stream.fileno()
    return None
