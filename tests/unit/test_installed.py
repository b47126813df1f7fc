"""What is installed, held against importlib.metadata."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from spanwise import installed

GROUPS = ("opentelemetry_instrumentor", "opentelemetry_propagator", "console_scripts", "nowhere")


@pytest.mark.parametrize("group", GROUPS)
def test_the_entry_points_are_those_of_the_standard_library(group: str) -> None:
    expected = {(each.name, each.value, each.module) for each in metadata.entry_points(group=group)}
    found = installed.entry_points(group)
    assert {(each.name, each.value, each.module) for each in found} == expected
    assert all(each.group == group for each in found)


def test_an_entry_loads_what_it_names_and_knows_its_distribution() -> None:
    (entry,) = (each for each in installed.entry_points("opentelemetry_propagator") if each.name == "baggage")
    assert entry.load().__name__ == "W3CBaggagePropagator"
    assert entry.dist is not None
    assert entry.dist.name == "opentelemetry-api"


@pytest.mark.parametrize("name", ["pytest", "Flask", "opentelemetry-api", "ruamel.yaml-that-is-not-there"])
def test_versions_are_those_of_the_standard_library(name: str) -> None:
    try:
        expected: str | None = metadata.version(name)
    except metadata.PackageNotFoundError:
        expected = None
    assert installed.version(name) == expected


@pytest.mark.parametrize("ending", [".dist-info", ".egg-info"])
def test_the_first_on_the_path_hides_others_of_its_name(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, name, version in (("one", "Some.Thing", "2.0"), ("two", "some_thing", "1.0")):
        folder = tmp_path / place / f"{name}-{version}{ending}"
        folder.mkdir(parents=True)
        written = "METADATA" if ending == ".dist-info" else "PKG-INFO"
        (folder / written).write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (folder / "entry_points.txt").write_text(
            f"# a comment\n[other]\na = b\n\n[spanwise_test]\nnamed = {place}.module:Class.method [extra]\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path / "two"))
    monkeypatch.syspath_prepend(str(tmp_path / "one"))
    (entry,) = installed.entry_points("spanwise_test")
    assert (entry.name, entry.module, entry.value) == (
        "named",
        "one.module",
        "one.module:Class.method [extra]",
    )
    assert installed.version("some-thing") == "2.0"


def test_what_cannot_be_read_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, data in (("bytes", b"[spanwise_test]\n\xff = a:b\n"), ("odd", b"[spanwise_test]\nno value\n")):
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "entry_points.txt").write_bytes(data)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path / "gone"))
    assert installed.entry_points("spanwise_test") == []


@pytest.mark.parametrize("entry", [Path("/tmp"), b"/tmp", None, "a\0b"])
def test_what_the_import_system_passes_over_on_the_path_is_passed_over(
    entry: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [each.value for each in installed.entry_points("opentelemetry_propagator")]
    version = metadata.version("opentelemetry-api")
    monkeypatch.setattr(sys, "path", [entry, *sys.path])
    assert [each.value for each in installed.entry_points("opentelemetry_propagator")] == expected
    assert installed.version("opentelemetry-api") == version


def test_packages_in_a_zip_file_are_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "packages.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped-1.5.dist-info/METADATA", "Metadata-Version: 2.1\nName: zipped\nVersion: 1.5\n")
        file.writestr("zipped-1.5.dist-info/entry_points.txt", "[spanwise_test]\nzipped = module:name\n")
    monkeypatch.syspath_prepend(str(archive))
    assert [each.name for each in installed.entry_points("spanwise_test")] == ["zipped"]
    assert installed.version("zipped") == "1.5"


def test_the_standard_library_s_reader_is_not_imported() -> None:
    code = (
        "import sys; from spanwise import installed\n"
        "found = installed.entry_points('opentelemetry_instrumentor')\n"
        "print(len(found) > 1, installed.version('spanwise'))\n"
        "print('importlib.metadata' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path += {sys.path[1:]!r}\n{code}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["True", metadata.version("spanwise"), "False"], done.stderr
