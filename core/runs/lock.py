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
LOCK = "run.lock"
"""Its name in a run folder; it is there while a training writes to the folder."""
HELD = (errno.EACCES, errno.EAGAIN)
_held: set[Path] = set()
"""Folders that this process trains in: a lock of the kernel does not keep a process from its own."""


class RunLock:
    """The lock of a run folder; the kernel gives it up when its process ends, however it ends.

    It is a POSIX record lock: processes that are forked do not inherit it, and file systems of several machines (NFS)
    share it. What a killed process left in the file is no lock. A process that reads the file would give its own up.
    """

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._file: int | None = None

    def acquire(self, folder: Path) -> None:
        """Take the lock of a run folder, which is made if it is not there; one that this object holds is kept.

        Raises:
            RunError: when another training holds it, or the folder cannot be written.
        """
        if self.folder == folder:
            return
        if folder.resolve() in _held:
            raise RunError(f"This process trains in {folder} already: choose another folder with --run-dir.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = _taken(folder)
        except OSError as error:
            raise RunError(
                f"The run folder {folder} cannot be created ({error}): choose another with --run-dir."
            ) from error
        self.folder = folder
        _held.add(folder.resolve())

    def release(self) -> None:
        """Give the lock up, and remove its file; without one, do nothing."""
        if self._file is not None and self.folder is not None:
            (self.folder / LOCK).unlink(missing_ok=True)
            os.close(self._file)
            _held.discard(self.folder.resolve())
            self.folder = self._file = None


def _taken(folder: Path) -> int:
    """Return the open file of a lock that is taken."""
    path = folder / LOCK
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _lock(file, folder)
            if not _is_at(file, path):  # its last holder has just removed it
                os.close(file)
                continue
            who = {"host": platform.node(), "process": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
            os.truncate(file, 0)
            os.write(file, json.dumps(who).encode())
        except BaseException:
            os.close(file)
            raise
        return file


def _lock(file: int, folder: Path) -> None:
    try:
        if fcntl is not None:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            raise RunError(_in_use(folder)) from error
        log.warning("%s cannot be locked (%s): see to it that no second training writes there.", folder, error)


def _in_use(folder: Path) -> str:
    try:
        who = json.loads((folder / LOCK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        who = {}
    by = f"process {who['process']} on {who['host']} since {who['since']}" if who else "another process"
    return (
        f"The run folder {folder} is in use: {by} trains there. Wait until it ends, or end it, or choose another "
        "folder with --run-dir."
    )


def _is_at(file: int, path: Path) -> bool:
    """Return whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
