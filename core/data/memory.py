"""How much memory this process may use: of the machine, or of the control groups (a container, a job) that it is in."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MEMINFO = Path("/proc/meminfo")
GROUPS = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


class Space(NamedTuple):
    """Bytes of a memory or a file system: in all, and free. Infinite where the system does not report them."""

    total: float
    free: float


def memory() -> Space:
    """Return the memory that this process may use: that of the machine, or less if a control group limits it.

    Of what a group uses, cached contents of files that nobody needs count as free: the system drops them first.
    """
    kilobytes = _numbers(MEMINFO)
    total, free = (1024 * kilobytes.get(name, math.inf) for name in ("MemTotal", "MemAvailable"))
    for limit, used, droppable in _groups():
        if limit < total:
            total = limit
        free = min(free, max(limit - used + droppable, 0))
    return Space(total, free)


def _groups() -> Iterator[tuple[float, float, float]]:
    """Iterate over the control groups that limit this process: limit, use, and what of it is cached files, in bytes."""
    text = GROUPS.read_text(encoding="utf-8") if GROUPS.exists() else ""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        is_second = controllers == ""  # the unified hierarchy, version 2
        if not is_second and "memory" not in controllers.split(","):
            continue
        root = MOUNT if is_second else MOUNT / "memory"
        limit, used, files = (
            ("memory.max", "memory.current", "inactive_file")
            if is_second
            else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        )
        here = root / path.lstrip("/")
        for folder in dict.fromkeys([here, *here.parents]):
            if folder.is_relative_to(root) and (most := _bytes_in(folder / limit)) is not None:
                yield most, _bytes_in(folder / used) or 0, _numbers(folder / "memory.stat").get(files, 0)


def _numbers(path: Path) -> dict[str, int]:
    """Return the numbers of a table of the system, by name."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return {}
    return {name: int(number) for name, number in re.findall(r"^(\w+):?\s*(\d+)", text, flags=re.MULTILINE)}


def _bytes_in(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no such control group, or "max"
        return None
