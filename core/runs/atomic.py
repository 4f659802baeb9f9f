"""Writing files whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any

from sensorium.errors import RunError

LONGEST_PATH = 4096
"""Characters of a text that may be a pattern of files."""
TEMPORARY = ".tmp"
"""The end of the name that a file has while it is written; it starts with a dot."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write(temporary path)`, then move the finished file into place.

    The file has the rights that the process gives to any new file, whatever `write` made of it.

    Raises:
        RunError: when the disk refuses; what stood at `path` before is untouched.
    """
    temporary = temporary_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb"):  # with the rights of a new file, which a writer that replaces it may not give
            rights = temporary.stat().st_mode
        write(temporary)
        os.chmod(temporary, rights)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        written = temporary.stat().st_size if temporary.exists() else 0
        temporary.unlink(missing_ok=True)
        raise RunError(not_written(path, error, written)) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def require_apart(out: str | Path, *read: object, endings: Sequence[str] = ()) -> None:
    """Raise an error where the file to write is one that is read.

    Args:
        out: the file to write.
        read: what is read: paths, or options of a source, of which the texts that are files, folders, or patterns of
            files count.
        endings: of the files that are read of a folder.

    Raises:
        RunError: when one of them is the file.
    """
    if not os.path.isfile(out):
        return
    is_of_folders = Path(out).suffix.lower() in endings
    for place in _texts_of(read):
        if any(os.path.samefile(out, file) for file in _files_of(place, is_of_folders)):
            raise RunError(f"'{out}' is read by this very command, and would be replaced: name another file to write.")


def _files_of(place: str, is_of_folders: bool) -> Iterator[str]:
    """Yield the files that a path or a pattern names, and, where these are read, those in a folder."""
    if os.path.isfile(place):
        yield place
    elif os.path.isdir(place):
        for folder, _, names in os.walk(place) if is_of_folders else ():
            yield from (os.path.join(folder, name) for name in names)
    elif len(place) <= LONGEST_PATH and any(mark in place for mark in "*?["):
        yield from filter(os.path.isfile, glob(place, recursive=True))


def _texts_of(value: object) -> Iterator[str]:
    """Yield the texts and paths in nested options."""
    if isinstance(value, str | Path):
        yield os.path.expanduser(value)
    elif isinstance(value, Mapping):
        yield from _texts_of(list(value.values()))
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for one in value:
            yield from _texts_of(one)


def temporary_of(path: Path) -> Path:
    """Return what a file or folder is called while this process writes it."""
    return path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")


def move_into_place(temporary: Path, folder: Path) -> None:
    """Give a folder that is written its name; one that had the name before is deleted."""
    if folder.exists():
        remove(folder)
    os.replace(temporary, folder)
    descriptor = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Delete a file or a whole folder, which is never there in part under its name; nothing where it is not there."""
    if path.is_dir():
        doomed = path if path.name.endswith(TEMPORARY) else path.with_name(f".{path.name}.old.{os.getpid()}{TEMPORARY}")
        os.replace(path, doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def give_usual_rights(folder: Path) -> None:
    """Give the files in a folder the rights that the process gives to any new file; some writers keep them private."""
    probe = folder / f".rights.{os.getpid()}{TEMPORARY}"
    probe.touch()
    rights = probe.stat().st_mode
    probe.unlink()
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(rights)


ELSEWHERE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG)
"""Errors of a place, not of its space."""


def not_written(path: Path, error: BaseException, written: int = 0) -> str:
    """Return the sentence about a file that could not be written.

    Args:
        path: the file.
        error: what the disk said.
        written: bytes that it took before.
    """
    number = getattr(error, "errno", None)
    free = _free(path)
    if number == errno.EDQUOT:
        problem = "the quota of disk space is used up"
    elif number == errno.ENOSPC or (free is not None and free < written + 2**20):
        problem = "the disk is full"
    else:
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
    room = f"; {_size(written)} of it were written, {_size(free)} are free" if free is not None and written else ""
    advice = "write elsewhere" if number in ELSEWHERE else "free some space, or write elsewhere"
    return f"{path} could not be written ({problem}{room}): {advice}; what was written before is intact."


def sweep(folder: Path) -> list[Path]:
    """Delete what writers that were killed have left in a folder and those in it; returns what it deleted."""
    left = [path for path in list(_temporaries(folder)) if not _is_running(path)]
    for path in left:
        remove(path)
    return left


def _temporaries(folder: Path) -> Iterator[Path]:
    return folder.rglob(f".*.*{TEMPORARY}")


def _is_running(path: Path) -> bool:
    """Return whether the process that writes a temporary file is still there, on this machine."""
    number = path.name.removesuffix(TEMPORARY).rpartition(".")[2]
    try:
        os.kill(int(number), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return int(number) != os.getpid()


def _free(path: Path) -> int | None:
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return None


def _size(count: int | None) -> str:
    """Return a number of bytes in words."""
    size = float(count or 0)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, as UTF-8."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any, indent: int = 1) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")
