"""Who the telemetry comes from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spanwise import names, resource

VARIABLES = ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS")


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # set first, so that what detect() sets is undone
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_finds_out_process_host_and_system() -> None:
    found = resource.detect().attributes
    for name in ("process.pid", "host.name", "os.type", "process.runtime.version"):
        assert name in found
    assert found[names.TELEMETRY_DISTRO_NAME] == "spanwise"
    assert found[names.SERVICE_INSTANCE_ID]
    assert names.SERVICE_VERSION not in found


def test_the_user_s_variables_win(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1.2"\n')
    assert resource.detect().attributes[names.SERVICE_VERSION] == "1.2"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=9,host.name=mine,service.name=low")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    found = resource.detect().attributes
    assert found[names.SERVICE_NAME] == "shop"
    assert found[names.SERVICE_VERSION] == "9"
    assert found["host.name"] == "mine"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[tool.x]\nversion = '1'\n",
        "[project]\nname='x'\n[tool.y]\nversion='2'\n",
        "[project]\ndynamic=['version']\n",
    ],
)
def test_no_plain_version_is_no_version(text: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert names.SERVICE_VERSION not in resource.detect().attributes


def test_a_working_folder_that_is_gone_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert resource.detect("shop").attributes[names.SERVICE_NAME] == "shop"


def test_a_forked_child_is_another_instance() -> None:
    code = """
import os, sys
from spanwise.resource import detect
from opentelemetry.sdk.trace import TracerProvider
provider = TracerProvider(resource=detect(), shutdown_on_exit=False)
def show():
    found = provider.resource.attributes
    print(found["service.instance.id"], found["process.pid"], os.getpid(), flush=True)
show()
child = os.fork()
if child == 0:
    show()
    os._exit(0)
os.waitpid(child, 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == 2
    assert len({line[0] for line in lines}) == 2
    for _, told, real in lines:
        assert told == real


def test_a_name_given_in_code_or_file_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=low")
    assert resource.detect("given").attributes[names.SERVICE_NAME] == "given"
    assert resource.detect(None).attributes[names.SERVICE_NAME] == "low"


def test_it_is_what_the_sdk_s_own_detectors_find(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours finds the same without asking all packages' entry points, psutil, and four threads."""
    quick = dict(resource.detect().attributes)
    monkeypatch.setenv("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", resource.DETECTORS)
    assert quick == dict(resource.detect().attributes)


def test_psutil_is_not_imported_and_the_owner_is_told_all_the_same() -> None:
    code = (
        "import sys; from spanwise import resource; found = resource.detect()\n"
        "print('psutil' in sys.modules, found.attributes['process.owner'])\n"
        "import psutil; from opentelemetry.sdk import resources\n"
        "print(psutil.Process().username(), resources.psutil.Process().pid, psutil.Process().pid)\n"
        "assert resources.psutil.cpu_count() == psutil.cpu_count()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded, owner, expected, pid, real = done.stdout.split()
    assert (loaded, owner, pid) == ("False", expected, real)
