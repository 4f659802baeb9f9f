"""Writing files whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sensorium.errors import RunError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write(temporary path)`, then move the finished file into place.

    Raises:
        RunError: when the disk refuses; what stood at `path` before is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        temporary.unlink(missing_ok=True)
        raise RunError(
            f"{path} could not be written ({error}): free some space, or choose another folder with --run-dir; "
            f"what was written before is intact."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, as UTF-8."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any, indent: int = 1) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")
