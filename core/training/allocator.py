"""Memory that a training on a CPU frees stays with the process.

glibc maps every large tensor anew and returns it to the kernel when it is freed, and each step touches all of its
pages for the first time: two fifths of the CPU time of a convolutional network over spectrograms.
"""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt`."""
LARGEST = 2**31 - 1
"""Sizes up to which memory is kept, in bytes: the most that `mallopt` takes."""


def keep_freed_memory() -> bool:
    """Let malloc take large blocks from its heap, and keep what is freed; return whether this C library can.

    Numbers do not change, and the memory of the process stays at its peak.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(MMAP_THRESHOLD, LARGEST)) and bool(mallopt(TRIM_THRESHOLD, LARGEST))
