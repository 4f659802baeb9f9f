"""What each process opens for itself: handles, connections, decoded data."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import RLock
from typing import Generic, TypeVar

import pyarrow as pa

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Something that is made at first use, and anew in a process that was forked since.

    An open file has one place in all processes that share it, and a connection one conversation.

    Args:
        make: makes it.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make, self._lock = make, RLock()
        self._process: int | None = None
        self._made: T | None = None
        self._inherited: list[T | None] = []  # never closed here: they are of the process that was forked

    def get(self) -> T:
        """Return this process's own."""
        if self._process != os.getpid():
            self._renew()
        assert self._made is not None
        return self._made

    def _renew(self) -> None:
        if self._process is not None:
            self._inherited.append(self._made)
            self._lock = RLock()  # a thread of the other process may have held it
        with self._lock:
            if self._process != os.getpid():
                self._made, self._process = self._make(), os.getpid()


class Recent:
    """The tables that were used last, within a number of bytes; the last one in any case.

    Args:
        size: the number of bytes.
    """

    def __init__(self, size: int) -> None:
        self._size, self._held = size, 0
        self._tables: OrderedDict[Hashable, pa.Table] = OrderedDict()
        self._lock = RLock()

    def get(self, key: Hashable, read: Callable[[], pa.Table]) -> pa.Table:
        """Return the table of a key, which `read` reads if it is not held; one thread at a time."""
        with self._lock:
            if key in self._tables:
                self._tables.move_to_end(key)
                return self._tables[key]
            table = self._tables[key] = read()
            self._held += table.nbytes
            while self._held > self._size and len(self._tables) > 1:
                self._held -= self._tables.popitem(last=False)[1].nbytes
            return table
