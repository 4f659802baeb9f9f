"""Two processes that are ranks of one gloo group, started once and used by every check that needs several ranks."""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, TimeoutError, wait
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any
from unittest import SkipTest

import torch
import torch.distributed as dist

from sensorium.parallel import host_group
from sensorium.testing.checked_part import Failure
from sensorium.testing.emulation.synchronizations import innermost_line

WORLD = 2
TIMEOUT = timedelta(seconds=60)
"""How long a rank may take, or wait for the other, before the pair is ended."""
START = timedelta(minutes=10)
"""How long the processes may take to start; on a busy machine, the import of torch takes a minute."""
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


@dataclass
class RankError:
    """What went wrong on a rank.

    Args:
        text: the error, and where it was raised.
        is_foreign: what was sent could not be read there: a class that the process cannot import.
    """

    text: str
    is_foreign: bool = False


class RankProcesses:
    """Processes that run a function on every rank at a time."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory()
        rendezvous = Path(self._folder.name, "rendezvous")
        self._processes = [self._start(rank, rendezvous) for rank in range(WORLD)]
        self._readers = ThreadPoolExecutor(WORLD)
        started = [self._readers.submit(self._answer_of, process) for process in self._processes]
        for one in started:
            one.result(START.total_seconds())

    @staticmethod
    def _start(rank: int, rendezvous: Path) -> subprocess.Popen[bytes]:
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from sensorium.testing.rank_processes import serve; "
            f"serve({rank}, {str(rendezvous)!r})"
        )
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    @staticmethod
    def _answer_of(process: subprocess.Popen[bytes]) -> Any:
        assert process.stdout is not None
        return pickle.load(process.stdout)

    def run(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """Return what `function(rank, world, *args)` returns on each rank; a rank that fails gives a `RankError`.

        Raises:
            Failure: when a rank waits in vain, or its process ends.
            SkipTest: when what is sent cannot be pickled.
        """
        try:
            sent = pickle.dumps((function, args))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise SkipTest(f"it cannot be sent to another process: {error}") from error
        try:
            for process in self._processes:
                assert process.stdin is not None
                process.stdin.write(sent)
                process.stdin.flush()
            asked = [self._readers.submit(self._answer_of, process) for process in self._processes]
            done, _ = wait(asked, TIMEOUT.total_seconds(), FIRST_COMPLETED)
            failed = [one.result() for one in done if isinstance(one.result(), RankError)]
            if failed and not failed[0].is_foreign:
                self.end()  # the other rank may wait for this one
                return failed
            return [one.result(TIMEOUT.total_seconds()) for one in asked]
        except TimeoutError:
            self.end()
            raise Failure(
                f"after {TIMEOUT.seconds} seconds a rank still waits for the other: every rank must call the same "
                "collective operations in the same order, whatever its records"
            ) from None
        except (EOFError, OSError) as error:
            self.end()
            raise Failure(f"the process of a rank ended: {error or type(error).__name__}") from error

    def end(self) -> None:
        """End the processes; a later check starts others."""
        rank_processes.cache_clear()
        for process in self._processes:
            process.kill()
            process.wait()
        self._readers.shutdown(wait=False)
        self._folder.cleanup()


@cache
def rank_processes() -> RankProcesses:
    """Return the processes, started at the first call; they end with this one."""
    made = RankProcesses()
    atexit.register(made.end)
    return made


def serve(rank: int, rendezvous: str) -> None:
    """Be a rank: run what comes by standard input, until it closes, and answer on standard output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what plugins print is no answer
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=WORLD, timeout=START)
    import_module("sensorium.testing.objective_ranks")  # what is sent refers to it
    try:
        answers.write(pickle.dumps("started"))
        answers.flush()
        while (asked := _read(sys.stdin.buffer)) is not None:
            answer = asked if isinstance(asked, RankError) else _answer(rank, *asked)
            answers.write(pickle.dumps(answer))
            answers.flush()
    finally:
        host_group.leave()


def _read(stream: IO[bytes]) -> Any:
    """Return what was sent, None at the end."""
    try:
        return pickle.load(stream)
    except EOFError:
        return None
    except (AttributeError, ImportError) as error:
        return RankError(str(error), is_foreign=True)


def _answer(rank: int, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        return function(rank, WORLD, *args)
    except Exception as error:
        place = innermost_line(error)
        return RankError(f"{type(error).__name__}: {error}{f' at {place}' if place else ''}")
