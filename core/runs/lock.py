"""One process trains in a run folder at a time: the lock that it holds, and what a second one is told."""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
import time
from pathlib import Path

from sensorium.errors import RunError

try:
    import fcntl
except ImportError:  # a system without locks of the kernel
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("sensorium")
FILE = "run.lock"
"""Its name in a run folder; it is there while a training writes to the folder."""
HELD = (errno.EACCES, errno.EAGAIN)
_held: set[Path] = set()
"""Folders that this process trains in: a lock of the kernel does not keep a process from its own."""


class RunLock:
    """The lock of a run folder; the kernel gives it up when its process ends, however it ends.

    It is a POSIX record lock: processes that are forked do not inherit it, and file systems of several machines (NFS)
    share it. What a killed process left in the file is no lock. A process that reads the file would give its own up.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / FILE
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock; makes the folder if there is none.

        Raises:
            RunError: when another training holds it, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._take()
        except OSError as error:
            raise RunError(
                f"The run folder {self.folder} cannot be written ({error}): choose another with --run-dir."
            ) from error
        _held.add(self.folder.resolve())

    def release(self) -> None:
        """Give the lock up, and remove its file; without one, do nothing."""
        if self._file is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None
            _held.discard(self.folder.resolve())

    def _take(self) -> None:
        if self.folder.resolve() in _held:
            raise RunError(f"This process trains in {self.folder} already: choose another folder with --run-dir.")
        while self._file is None:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                self._lock(file)
                if _is_at(file, self.path):  # not one that its last holder has just removed
                    who = {"host": platform.node(), "process": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
                    os.truncate(file, 0)
                    os.write(file, json.dumps(who).encode())
                    self._file = file
            finally:
                if self._file is None:
                    os.close(file)

    def _lock(self, file: int) -> None:
        try:
            if fcntl is not None:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in HELD:
                raise RunError(self._in_use()) from error
            log.warning("%s cannot be locked (%s): see to it that no second training writes there.", self.folder, error)

    def _in_use(self) -> str:
        try:
            who = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            who = {}
        by = f"process {who['process']} on {who['host']} since {who['since']}" if who else "another process"
        return (
            f"The run folder {self.folder} is in use: {by} trains there. Wait until it ends, or end it, or choose "
            "another folder with --run-dir."
        )


def _is_at(file: int, path: Path) -> bool:
    """Return whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
