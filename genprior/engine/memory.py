"""Keeps freed memory in the process, because every training step allocates the same large blocks.

By default glibc returns freed blocks of a few megabytes to the system, so that every step pays for the page faults of
allocating them again: about a seventh of a step's time on a CPU (see `benchmarks/README.md`).
"""

from __future__ import annotations

import ctypes
import functools
import sys

__all__ = ["keep_freed_memory"]

# The numbers of mallopt's parameters in glibc's malloc.h, and the largest threshold that it accepts.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 * 1024 * 1024


@functools.cache
def keep_freed_memory() -> bool:
    """Configure the C library to keep freed memory, for the whole process.

    Returns:
        Whether it did; only glibc is configured.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    kept = mallopt(_M_TRIM_THRESHOLD, 2**31 - 1) and mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
    return bool(kept)
