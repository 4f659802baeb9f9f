"""A file without a name: bytes that several processes of a node map, and that vanish with the last of them."""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sensorium.errors import DataError
from sensorium.parallel import collectives
from sensorium.parallel.cores import machine

ALIGNMENT = mmap.PAGESIZE


class Stored(NamedTuple):
    """Where a file holds an array.

    Args:
        start: its first byte.
        shape: of the array.
        dtype: of torch.
        is_host: whether it was a NumPy array, and is to be one.
    """

    start: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    is_host: bool


class Address(NamedTuple):
    """Where other processes of a machine find the file of a process.

    Args:
        machine: what is the same for all processes of a machine.
        path: of the file, while its process has it open.
        number: device and number of the file, which tell it from others.
    """

    machine: str
    path: str
    number: tuple[int, int]

    @property
    def is_in_reach(self) -> bool:
        """Whether this process can open it."""
        try:
            found = os.stat(self.path)
        except OSError:
            return False
        is_it = self.machine == machine() and (found.st_dev, found.st_ino) == self.number
        return is_it and os.access(self.path, os.R_OK | os.W_OK)

    def map(self) -> MappedFile:
        """Return all of the file as memory."""
        file = os.open(self.path, os.O_RDWR)
        try:
            return MappedFile(file)
        finally:
            os.close(file)


class UnnamedFile:
    """Bytes in memory or in a folder, which other processes of the same user can open while this one lives.

    There is no name to clean up: the system frees the bytes when the last process that has them is gone, however it
    ends. What was reserved and not written takes no room.

    Args:
        folder: where the bytes are; None for memory.

    Raises:
        DataError: when the folder takes no file.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        try:
            self._file = _unnamed(folder)
        except OSError as error:
            raise DataError(
                f"data.cache_dir = {folder} takes no file ({error.strerror or error}): name a folder in which you may "
                "write."
            ) from error
        self._end = 0

    def close(self) -> None:
        """Let go of it; what is mapped stays."""
        self._file.close()

    @property
    def size(self) -> int:
        """Bytes of memory or disk that it takes."""
        return os.fstat(self._file.fileno()).st_blocks * 512

    def reserve(self, size: int) -> int:
        """Return the first byte of so many new ones."""
        start = self._end
        self._end = -(-(start + size) // ALIGNMENT) * ALIGNMENT
        os.ftruncate(self._file.fileno(), self._end)
        return start

    def write(self, start: int, values: np.ndarray) -> None:
        """Write a contiguous array from a byte on.

        Raises:
            DataError: when there is no room.
        """
        left = memoryview(values.reshape(-1).view(np.uint8).data) if values.size else memoryview(b"")
        while len(left):
            try:
                count = os.pwrite(self._file.fileno(), left, start)
            except OSError as error:
                raise DataError(f"The cache could not be written ({error.strerror}); set data.cache: off.") from error
            left, start = left[count:], start + count

    def store(self, values: Tensor | np.ndarray) -> Stored:
        """Write an array behind all others."""
        is_host = isinstance(values, np.ndarray)
        x = torch.from_numpy(np.ascontiguousarray(values)) if isinstance(values, np.ndarray) else values.contiguous()
        start = self.reserve(x.nbytes)
        self.write(start, as_bytes(x))
        return Stored(start, tuple(x.shape), x.dtype, is_host)

    def address(self) -> Address:
        """Return by what other processes of this machine open it."""
        found, descriptor = os.fstat(self._file.fileno()), self._file.fileno()
        return Address(machine(), f"/proc/{os.getpid()}/fd/{descriptor}", (found.st_dev, found.st_ino))

    def map(self) -> MappedFile:
        """Return all of it as memory."""
        return MappedFile(self._file.fileno())


class MappedFile:
    """The bytes of a file as memory that processes share.

    Args:
        file: a descriptor.
    """

    def __init__(self, file: int) -> None:
        size = os.fstat(file).st_size
        self._bytes = torch.frombuffer(mmap.mmap(file, size), dtype=torch.uint8) if size else torch.empty(0)

    def array(self, stored: Stored) -> Tensor | np.ndarray:
        """Return what was stored, without a copy."""
        size = int(np.prod(stored.shape)) * stored.dtype.itemsize
        x = torch.empty(stored.shape, dtype=stored.dtype)
        if size:
            x = self._bytes[stored.start : stored.start + size].view(stored.dtype).view(stored.shape)
        return x.numpy() if stored.is_host else x


def as_bytes(x: Tensor) -> np.ndarray:
    """Return the bytes of a contiguous tensor on the CPU, without a copy."""
    return x.detach().reshape(-1).view(torch.uint8).numpy() if x.numel() else np.zeros(0, np.uint8)


def of_node(file: UnnamedFile) -> dict[int, Address]:
    """Return the ranks that can open each other's files, this one included: rank -> where its file is.

    Such are the ranks of one user on one machine, in one container; a rank that shares nothing is alone. A collective
    operation.

    Args:
        file: this rank's.
    """
    addresses, me = collectives.all_gather_objects(file.address()), collectives.rank()
    seen = {rank for rank, address in enumerate(addresses) if rank == me or address.is_in_reach}
    seen_by = collectives.all_gather_objects(seen)
    is_mutual = all(seen_by[rank] == seen for rank in seen)
    return {rank: addresses[rank] for rank in (sorted(seen) if is_mutual else [me])}


def _unnamed(folder: str | Path | None) -> IO[bytes]:
    """Return a new file that no folder lists."""
    if folder is None and hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("sensorium"), "wb", buffering=0)
    return tempfile.TemporaryFile(dir=folder, buffering=0)  # without a name from the start, where the system can
