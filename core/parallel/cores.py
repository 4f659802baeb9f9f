"""The cores that a rank may count on, whoever launched it: those of its host, shared with the ranks beside it."""

from __future__ import annotations

import os
import socket
from collections import Counter
from pathlib import Path

from sensorium.parallel import collectives

_sharers: Counter[int] = Counter()
"""Core -> how many ranks of this host may run on it; empty before `count_sharers`."""


def count_sharers() -> None:
    """Learn which cores this rank shares with other ranks; a collective operation."""
    mine = (machine(), sorted(_cores()))
    _sharers.clear()
    for where, cores in collectives.all_gather_objects(mine):
        _sharers.update(cores if where == mine[0] else ())


def cores_of_rank() -> int:
    """Return the number of cores that this rank has for itself, at least 1: one of two ranks' counts as half a core."""
    return max(int(sum(1 / max(_sharers[core], 1) for core in _cores()) + 1e-9), 1)


def _cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def machine() -> str:
    """Return what is the same for all processes of this machine, its containers included, and for no others."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return boot.read_text() if boot.exists() else socket.gethostname()
