"""How much memory this process may use: of the machine, or of the container that it runs in."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

MEMINFO = Path("/proc/meminfo")
CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Limit and use of the control group, versions 2 and 1."""


class Space(NamedTuple):
    """Bytes of a memory or a file system: in all, and free. Infinite where the system does not report them."""

    total: float
    free: float


def memory() -> Space:
    """Return the memory that this process may use: that of the machine, or less if a container limits it."""
    text = MEMINFO.read_text(encoding="utf-8") if MEMINFO.exists() else ""
    kilobytes = {name: int(number) for name, number in re.findall(r"^(\w+):\s*(\d+) kB", text, flags=re.MULTILINE)}
    total, free = (1024 * kilobytes.get(name, math.inf) for name in ("MemTotal", "MemAvailable"))
    for limit, used in CGROUPS:
        if (most := _bytes_in(limit)) is not None and most < total:
            total, free = most, min(free, most - (_bytes_in(used) or 0))
    return Space(total, free)


def _bytes_in(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no such control group, or "max"
        return None
