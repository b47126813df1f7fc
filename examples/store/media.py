"""Media files: small, and made by us, the same bytes each time."""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

import spanwise

CLIPS = 64  # tracks share files: 64 of at most 128 KiB keep the folder under 8 MiB
KIB = 1024


class MediaError(Exception):
    """The file of this track cannot be used."""


def is_damaged(track_id: int) -> bool:
    """Every seventeenth track's media is damaged: what a real library has, made predictable."""
    return track_id % 17 == 0


def clip_size(track_id: int) -> int:
    """Bytes in the track's file: 32 to 128 KiB."""
    return (32 + track_id % CLIPS * 97 // CLIPS) * KIB


class Library:
    """The folder of media files. Files are made when first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, track_id: int) -> Path:
        """The track's file, made if need be."""
        path = self._folder / f"clip-{track_id % CLIPS:03d}.bin"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            # Written aside and moved: another thread or worker never reads half a file.
            handle, name = tempfile.mkstemp(dir=self._folder)
            with os.fdopen(handle, "wb") as file:
                file.write(random.Random(track_id % CLIPS).randbytes(clip_size(track_id)))
            os.replace(name, path)
        return path

    @spanwise.operation("load media", kind="file")
    def load(self, track_id: int) -> bytes:
        """The whole file. Raises MediaError if it is damaged."""
        content = self.path(track_id).read_bytes()
        if is_damaged(track_id):
            raise MediaError(f"track {track_id}: the index of the file is damaged")
        return content
