"""`spanwise generate` replaces a file at once: whoever reloads meanwhile has the old one or the new one."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from spanwise.commands.generate import _write
from spanwise.errors import ConfigurationError


def test_a_disk_that_is_full_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("old", "utf-8")

    def half(path: Path, data: bytes) -> int:
        with path.open("wb") as made:
            made.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", half)
        with pytest.raises(ConfigurationError, match="No space left"):
            _write(file, "new and longer")
    assert file.read_text("utf-8") == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["rules.yaml"]


def test_mode_and_link_stay(tmp_path: Path) -> None:
    file, link = tmp_path / "there.yaml", tmp_path / "link.yaml"
    file.write_text("old", "utf-8")
    file.chmod(0o640)
    link.symlink_to(file)
    _write(link, "new\n")
    assert link.is_symlink()
    assert file.read_bytes() == b"new\n"
    assert file.stat().st_mode & 0o777 == 0o640
    _write(tmp_path / "a" / "b.yaml", "x")
    assert (tmp_path / "a" / "b.yaml").read_text("utf-8") == "x"
