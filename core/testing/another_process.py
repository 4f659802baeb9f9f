"""A second process, whose strings have other hashes, in which checks make a part once more; one serves all checks."""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any
from unittest import SkipTest

_SERVE = "import sys; sys.path[:] = {path!r}; from sensorium.testing.another_process import serve; serve()"


def in_another_process(function: Callable[..., Any], *args: Any) -> Any:
    """Return what a function returns in another process.

    Args:
        function: a function of a module.
        args: its arguments, which can be pickled, as what it returns can.

    Raises:
        SkipTest: when the arguments exist in this process alone, such as classes of a notebook.
        RuntimeError: when it raises an error there.
    """
    try:
        # With the path of now: the process may have been started before a folder was added to it.
        message = pickle.dumps((sys.path, pickle.dumps((function, args))))
    except Exception as error:
        raise SkipTest(f"what it is made of cannot be sent to another process: {error}") from error
    child = _started()
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(len(message).to_bytes(8, "little") + message)
    child.stdin.flush()
    outcome, value = pickle.loads(_read(child.stdout))
    if outcome == "absent":
        raise SkipTest(f"another process cannot import it: {value}")
    if outcome == "raised":
        raise RuntimeError(f"in another process it raises {value}")
    return value


def serve() -> None:
    """Call what arrives on standard input, and answer on standard output, until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what plugins print is no answer
    while size := sys.stdin.buffer.read(8):
        message = pickle.dumps(_answer(sys.stdin.buffer.read(int.from_bytes(size, "little"))))
        answers.write(len(message).to_bytes(8, "little") + message)
        answers.flush()


def _answer(message: bytes) -> tuple[str, Any]:
    try:
        sys.path[:], called = pickle.loads(message)
        function, args = pickle.loads(called)
    except Exception as error:
        return "absent", f"{type(error).__name__}: {error}"
    try:
        value = function(*args)
        pickle.dumps(value)
    except Exception as error:
        return "raised", f"{type(error).__name__}: {error}"
    return "returned", value


@cache
def _started() -> subprocess.Popen[bytes]:
    seed = "1" if os.environ.get("PYTHONHASHSEED") == "2" else "2"
    child = subprocess.Popen(
        [sys.executable, "-c", _SERVE.format(path=sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONHASHSEED": seed},
    )
    atexit.register(_end, child)
    return child


def _end(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    child.stdin.close()
    child.wait()


def _read(stream: Any) -> bytes:
    size = stream.read(8)
    if not size:
        raise RuntimeError("the other process of the checks has ended")
    return bytes(stream.read(int.from_bytes(size, "little")))
