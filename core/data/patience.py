"""Patience with a store: what fails for a moment is read again, what stands still is given up."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from re import search
from typing import TypeVar

import numpy as np
import torch

from sensorium.errors import BadSample, DataError

T = TypeVar("T")
PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before the first retry, doubled before each further one, and the most before any."""
TRANSIENT = frozenset(
    getattr(errno, name)
    for name in (
        *("EIO", "ESTALE", "EREMOTEIO", "EAGAIN", "EINTR", "EBUSY", "ETIMEDOUT", "EPIPE", "EPROTO", "ENOTCONN"),
        *("ECONNRESET", "ECONNABORTED", "ECONNREFUSED", "ENETDOWN", "ENETUNREACH", "ENETRESET", "EHOSTDOWN"),
        *("EHOSTUNREACH", "ENOLINK", "ECOMM", "ESHUTDOWN"),
    )
    if hasattr(errno, name)
)
"""Error numbers of a disk, a network file system or a connection that failed; those of a file itself are others."""
CONNECTION_ERRORS = frozenset(
    {
        *("ConnectionError", "ConnectTimeoutError", "EndpointConnectionError", "ReadTimeoutError", "TimeoutError"),
        *("ClientConnectionError", "ServerDisconnectedError", "ClientPayloadError", "ConnectionClosedError"),
        *("IncompleteRead", "IncompleteReadError", "ProtocolError", "RemoteProtocolError", "TransportError"),
    }
)
"""Names of exceptions by which libraries of stores (aiohttp, botocore, httpx, urllib3) tell the same."""
SAID_BY_STORES = (
    *("NETWORK_CONNECTION", "SLOW_DOWN", "SlowDown", "INTERNAL_FAILURE", "SERVICE_UNAVAILABLE", "timed out"),
    *("Generic S3 error", "Generic GCS error", "Generic MicrosoftAzure error", "The operation lacked"),
)
"""What an error says, without a number, when Arrow's or Lance's store cannot be reached."""


def is_transient(error: BaseException | None) -> bool:
    """Return whether an error, or one that caused it, is of a store that failed, not of the value that was read."""
    while error is not None:
        number = _number(error)
        if number in TRANSIENT or (number is None and _is_of_connection(error)):
            return True
        error = error.__cause__
    return False


def _number(error: BaseException) -> int | None:
    """Return the number of the system that an error has, or says, as those of Lance do; None where there is none."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    said = search(r"\(os error (\d+)\)", str(error)) if isinstance(error, OSError | ValueError) else None
    return None if said is None else int(said[1])


def _is_of_connection(error: BaseException) -> bool:
    if CONNECTION_ERRORS & {kind.__name__ for kind in type(error).__mro__}:
        return True
    return isinstance(error, OSError) and any(words in str(error) for words in SAID_BY_STORES)


@dataclass
class Patience:
    """How long a store is waited for.

    Args:
        retries: times that a record is read again when the store fails (`data.retries`).
        timeout: seconds that a loader worker may stand still (`data.timeout`); None: any number.
        failures: what the store said since it was last told, in words.
    """

    retries: int = 5
    timeout: float | None = 600.0
    failures: list[str] = field(default_factory=list)

    def read(self, read: Callable[[], T], id_of: Callable[[], str]) -> T:
        """Return what `read` returns, which is called again, after growing pauses, while the store fails.

        Args:
            read: reads a record, or a value of it.
            id_of: says the id of the record.

        Raises:
            DataError: when the store failed at the last retry, too; any other error is that of `read`.
        """
        for retry, pause in enumerate(self._pauses()):
            try:
                return read()
            except Exception as error:
                if not is_transient(error):
                    raise
                if retry == self.retries:
                    raise DataError(self._given_up(id_of(), error)) from error
                self.failures.append(f"record '{id_of()}': {_said(error)}")
            time.sleep(pause)
        raise AssertionError("the last retry returns or raises")

    def told(self) -> list[str]:
        """Return what the store said since the last call."""
        failures, self.failures = self.failures, []
        return failures

    def _pauses(self) -> Iterator[float]:
        for retry in range(self.retries + 1):
            yield min(PAUSE * 2**retry, LONGEST_PAUSE)

    def _given_up(self, record: str, error: Exception) -> str:
        waited = sum(list(self._pauses())[:-1])
        times = "once" if not self.retries else f"{self.retries + 1} times in {waited:g} s"
        return (
            f"The store failed {times} to give the record '{record}' (data.retries = {self.retries}): {_said(error)}. "
            "When it can be read again, continue the run; if it is slow to come back, raise data.retries; if this "
            "record alone is damaged, remove its file, which then counts as unreadable."
        )


class Whereabouts:
    """What each loader worker reads, in memory that it shares with the process that waits for it.

    Args:
        workers: number of loader processes.
    """

    def __init__(self, workers: int) -> None:
        self._shared_W3 = torch.zeros(workers, 3, dtype=torch.int64).share_memory_()
        """Of each worker: how many readings it has begun, the position of the last, how many records it is of."""

    def of(self, worker: int) -> list[int]:
        """Return how many readings a worker has begun, the position of the last, and how many records it is of."""
        return self._shared_W3[worker].tolist()

    def kept_by(self, worker: int) -> None:
        """Let `begin_reading` note in this process, from now on, what a worker reads."""
        global _noted_3
        _noted_3 = self._shared_W3[worker].numpy()


_noted_3: np.ndarray | None = None
"""Of this process, where it is a loader worker: its row of `Whereabouts`."""


def begin_reading(position: int, count: int = 1) -> None:
    """Note, in a loader worker, that records are read from now on.

    Args:
        position: of the first in the source.
        count: how many, in one request.
    """
    if _noted_3 is not None:
        _noted_3[:] = _noted_3[0] + 1, position, count


def _said(error: BaseException) -> str:
    """Return what an error says, by its root where that is an error of the system, on one line."""
    while isinstance(error, BadSample) and error.__cause__ is not None:
        error = error.__cause__
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}".rstrip(": .") if said else type(error).__name__
