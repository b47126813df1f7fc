"""How much physical memory this process uses, read the cheapest way there is.

For the path of requests, operations and plugin loads.
"""

from __future__ import annotations

import os
from typing import Final

__all__ = ["resident_bytes"]

_PAGE: Final[int] = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def resident_bytes() -> int:
    """Resident set size in bytes, from /proc/self/statm (proc(5)) in half of psutil's time; else psutil's."""
    try:
        handle = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        import psutil

        return int(psutil.Process().memory_info().rss)
    try:
        return int(os.read(handle, 128).split(None, 2)[1]) * _PAGE
    finally:
        os.close(handle)
