"""Functions are called when a module has run: once, in time, and the module never knows."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from spanwise.instrumentors import _imports
from spanwise.instrumentors._imports import is_being_imported, when_imported


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Modules of a test's own."""
    (tmp_path / "awaited.py").write_text("done = False\nimport awaited_too\ndone = True\n")
    (tmp_path / "awaited_too.py").write_text("")
    (tmp_path / "fails.py").write_text("raise RuntimeError('planted')\n")
    package = tmp_path / "parcel"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("import importlib.resources\n")
    (package / "text.txt").write_text("read")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("awaited", "awaited_too", "fails", "parcel", "parcel.inner"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        _imports._waiting.pop(name, None)
    return tmp_path


def test_it_is_called_once_after_the_module_has_run() -> None:
    seen: list[Any] = []
    when_imported("awaited", lambda module: seen.append(module.done))
    assert seen == []
    importlib.import_module("awaited")
    importlib.reload(sys.modules["awaited"])
    assert seen == [True]


def test_a_module_that_is_there_is_told_of_at_once() -> None:
    importlib.import_module("awaited")
    seen: list[Any] = []
    when_imported("awaited", seen.append)
    assert seen == [sys.modules["awaited"]]


def test_one_that_is_asked_for_while_it_is_told_of_is_told_of_at_once() -> None:
    seen: list[str] = []
    when_imported("awaited", lambda module: when_imported("awaited", lambda _: seen.append("inner")))
    importlib.import_module("awaited")
    assert seen == ["inner"]


def test_one_that_is_asked_for_while_it_runs_is_told_of_when_it_has_run() -> None:
    """As where an application configures telemetry in a module that the awaited one imports."""
    seen: list[bool] = []
    when_imported("awaited_too", lambda _: when_imported("awaited", lambda module: seen.append(module.done)))
    when_imported("awaited", lambda _: None)
    importlib.import_module("awaited")
    assert seen == [True]


def test_one_that_nobody_awaited_when_its_import_began_is_told_of_later(folder: Path) -> None:
    seen: list[bool] = []
    (folder / "awaited_too.py").write_text("import sys\nsys.ask()\n")
    sys.ask = lambda: when_imported("awaited", lambda module: seen.append(module.done))  # type: ignore[attr-defined]
    try:
        importlib.import_module("awaited")
    finally:
        del sys.ask  # type: ignore[attr-defined]
    assert seen == []
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_module")
    assert seen == [True]
    assert not _imports._under_way


def test_the_module_and_its_package_s_data_are_as_without_us() -> None:
    when_imported("parcel", lambda _: None)
    when_imported("parcel.inner", lambda _: None)
    inner = importlib.import_module("parcel.inner")
    parcel = sys.modules["parcel"]
    for module in (inner, parcel):
        assert type(module.__loader__).__name__ == "SourceFileLoader"
        assert module.__spec__ is not None
        assert module.__spec__.loader is module.__loader__
    assert inner.importlib.resources.files("parcel").joinpath("text.txt").read_text() == "read"


def test_a_module_that_fails_is_awaited_still(folder: Path) -> None:
    seen: list[Any] = []
    when_imported("fails", seen.append)
    with pytest.raises(RuntimeError, match="planted"):
        importlib.import_module("fails")
    assert seen == []
    (folder / "fails.py").write_text("mended = True\n")
    importlib.invalidate_caches()
    importlib.import_module("fails")
    assert len(seen) == 1


def test_a_module_that_does_not_exist_is_not_found() -> None:
    when_imported("no_such_module", lambda _: None)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_module")


def test_a_package_without_an_init_file_is_told_of_and_stays_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part, name in (("one", "first"), ("two", "second")):
        (tmp_path / part / "spread").mkdir(parents=True)
        (tmp_path / part / "spread" / f"{name}.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path / "one"))
    seen: list[ModuleType] = []

    def imports_more(module: ModuleType) -> None:
        seen.append(module)
        assert importlib.import_module("spread.first").value == 1

    when_imported("spread", imports_more)
    try:
        importlib.import_module("spread.first")
        package = sys.modules["spread"]
        assert seen == [package]
        assert (package.__spec__ is not None, getattr(package, "__file__", None)) == (True, None)
        assert not is_being_imported(package)
        # Parts that come onto the path later belong to it, as without us.
        monkeypatch.syspath_prepend(str(tmp_path / "two"))
        assert importlib.import_module("spread.second").value == 1
        assert importlib.reload(sys.modules["spread.first"]).value == 1
    finally:
        for name in ("spread", "spread.first", "spread.second"):
            sys.modules.pop(name, None)
