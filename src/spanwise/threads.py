"""Starts the threads of ours that only wait and work: a leaf, since several rooms have one."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["started"]


def started(target: Callable[[], None], name: str) -> threading.Thread | None:
    """A daemon thread that runs ``target``; None at interpreter shutdown, when none can start."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread
