"""``file``: a line of JSON for each notification, in a file that is bounded in size and number."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from spanwise.alerts.notification import Notification

__all__ = ["BYTES", "FILES", "JsonLines"]

try:
    import fcntl
except ImportError:  # Windows: two processes with one file may there lose a line when it is turned over
    fcntl = None  # type: ignore[assignment]

BYTES: Final = 5_000_000
"""A file is as long as this at most: some ten thousand notifications."""
FILES: Final = 5
"""The newest has the path itself, the others a number: ``alerts.jsonl.1`` is the next."""


class JsonLines:
    """Writes to one path, with whatever other processes write to it.

    Args:
        path: the newest file; made where there is none, and only readable for its owner.
        size, files: as BYTES and FILES.
    """

    def __init__(self, path: str, size: int = BYTES, files: int = FILES) -> None:
        self._path = Path(path)
        self._size = size
        self._files = files

    def __call__(self, notification: Notification) -> None:
        """Appends it.

        Raises:
            OSError: the path cannot be written.
        """
        line = json.dumps(notification.as_dict(), ensure_ascii=False, allow_nan=False).encode() + b"\n"
        with self._locked():
            try:
                length = self._path.stat().st_size
            except FileNotFoundError:
                length = 0
            if length and length + len(line) > self._size:
                self._turn_over()
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
            written = os.open(self._path, flags, 0o600)
            try:
                os.write(written, line)
            finally:
                os.close(written)

    def _turn_over(self) -> None:
        for number in range(self._files - 2, -1, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        if self._files == 1:
            self._path.unlink()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Of all processes one at a time: else two would turn over the same file."""
        if fcntl is None:
            yield
            return
        lock = os.open(
            self._path.with_name(f"{self._path.name}.lock"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
