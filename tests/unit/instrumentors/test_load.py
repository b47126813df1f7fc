"""The loader: one that fails stops nothing, the lists hold, ours and contrib's answer to one name."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from spanwise.instrumentors import load as module
from spanwise.instrumentors._base import Instrumentor
from spanwise.instrumentors.table import TRIGGERS
from spanwise.settings import Settings

calls: list[tuple[str, dict[str, Any]]] = []


class _Fake(BaseInstrumentor):  # type: ignore[misc]
    def instrumentation_dependencies(self) -> tuple[str, ...]:
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        kwargs.pop("skip_dep_check", None)
        calls.append((type(self).__name__, kwargs))

    def _uninstrument(self, **_: Any) -> None:
        """Nothing to undo."""


class Good(_Fake):
    """Works."""


class Other(_Fake):
    """Works."""


class Ours(Instrumentor):
    """Works."""

    def _instrument(self, **options: Any) -> None:
        options.pop("skip_dep_check", None)
        calls.append((type(self).__name__, options))

    def _uninstrument(self) -> None:
        """Nothing to undo."""


class OldLibrary(Ours):
    """Does not go with what is installed."""

    library = "pytest"
    since = (9999, 0)


class NoLibrary(Ours):
    """Its library is not there."""

    library = "no-such-library"


class Failing(_Fake):
    """Raises."""

    def _instrument(self, **_: Any) -> None:
        raise RuntimeError("planted")


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(sys.modules, "fake_instrumentors", sys.modules[__name__])
    entries = [
        EntryPoint(name, f"fake_instrumentors:{attribute}", module.GROUP)
        for name, attribute in (
            ("bad", "Failing"),
            ("gone", "Nowhere"),
            ("good", "Good"),
            ("mine", "Other"),
            ("spanwise", "Failing"),
        )
    ]
    table = {
        "mine": "fake_instrumentors:Ours",
        "old": "fake_instrumentors:OldLibrary",
        "missing": "fake_instrumentors:NoLibrary",
    }
    monkeypatch.setattr(module, "entry_points", lambda group: entries if group == module.GROUP else [])
    monkeypatch.setattr(module, "INSTRUMENTORS", table)
    monkeypatch.setattr(module, "TRIGGERS", {})
    calls.clear()
    yield
    for cls in (Good, Other, Ours):
        if cls().is_instrumented_by_opentelemetry:
            cls().uninstrument()


def states(**settings: Any) -> dict[str, str]:
    """What became of each, by name."""
    return {outcome.name: outcome.state for outcome in module.load(Settings(**settings))}


def test_one_that_fails_stops_neither_the_others_nor_the_application(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert states() == {
        "bad": "failed",
        "gone": "failed",
        "good": "instrumented",
        "mine": "instrumented",
        "missing": "absent",
        "old": "failed",
    }
    assert [name for name, _ in calls] == ["Good", "Ours"]
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 3
    assert "bad is not instrumented: RuntimeError: planted" in warnings[0]
    assert "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS" in warnings[0]
    assert "needs pytest>=9999.0, installed is pytest " in warnings[2]
    assert pytest.__version__ in warnings[2]


def test_deny_list() -> None:
    found = states(disabled_instrumentations=("good", "old"))
    assert (found["good"], found["old"], found["mine"]) == ("skipped", "skipped", "instrumented")


def test_star_denies_all(caplog: pytest.LogCaptureFixture) -> None:
    assert set(states(disabled_instrumentations=("*",)).values()) == {"skipped"}
    assert calls == []
    assert caplog.records == []


def test_allow_list_and_a_name_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    found = states(enabled_instrumentations=("good", "flsk", "Mine"))
    assert [name for name, state in found.items() if state == "instrumented"] == ["good"]
    assert "'flsk', which is no instrumentation here. There are: bad, gone, good" in caplog.text
    assert "'Mine', which is no instrumentation here. Did you mean 'mine'?" in caplog.text


def test_contrib_is_used_where_a_setting_says_so() -> None:
    states(contrib_instrumentations=("mine",))
    assert [name for name, _ in calls] == ["Good", "Other"]


def test_options_reach_instrument() -> None:
    module.load(Settings(), lambda name: {"good": {"depth": 3}}.get(name, {}))
    assert ("Good", {"depth": 3}) in calls


def test_a_version_conflict_of_an_installed_package(tmp_path: Path) -> None:
    """As pip leaves it: metadata with an `instruments` extra that the installed version breaks."""
    for name, requirement in (("stale", "pytest<1"), ("fresh", "pytest>1")):
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nProvides-Extra: instruments\n"
            f'Requires-Dist: {requirement}; extra == "instruments"\n'
        )
        (folder / "entry_points.txt").write_text(
            f"[opentelemetry_instrumentor]\n{name} = {name}_module:Made\n"
        )
        (tmp_path / f"{name}_module.py").write_text(
            f"class Made:\n    def instrument(self, **_):\n        print('instrumented', {name!r})\n"
        )
    code = (
        "import logging; logging.basicConfig(format='%(levelname)s %(message)s')\n"
        "from spanwise.instrumentors.load import load\nfrom spanwise.settings import Settings\n"
        "load(Settings(enabled_instrumentations=('stale', 'fresh')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == ["instrumented fresh"]
    assert done.stderr.count("WARNING") == 1
    assert "stale is not instrumented" in done.stderr
    assert "pytest<1" in done.stderr.replace(" ", "")


def test_one_that_waits_is_attached_when_its_library_is_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("lib_of_good", "lib_of_bad", "lib_of_old"):
        (tmp_path / f"{name}.py").write_text("attached = False\n")
    monkeypatch.syspath_prepend(tmp_path)
    waiting = {name: f"lib_of_{name}" for name in ("good", "bad", "old")}
    monkeypatch.setattr(module, "TRIGGERS", {**waiting, "mine": "sys"})
    found = states(enabled_instrumentations=("good", "bad", "old", "mine"))
    assert {name: found[name] for name in waiting} == dict.fromkeys(waiting, "waiting")
    assert found["mine"] == "instrumented"  # its library is there already
    assert [name for name, _ in calls] == ["Ours"]
    assert caplog.records == []

    import_module("lib_of_good")
    assert [name for name, _ in calls] == ["Ours", "Good"]
    # One that fails must not fail the application's import.
    assert import_module("lib_of_bad").attached is False
    import_module("lib_of_old")
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 2
    assert "bad is not instrumented: RuntimeError: planted" in warnings[0]
    assert "old is not instrumented" in warnings[1]


def test_the_report_tells_of_conflicts_before_the_import(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("lib_one", "lib_two", "lib_three"):
        (tmp_path / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    triggers = {"good": "lib_one", "old": "lib_two", "missing": "lib_three", "bad": "lib_that_is_not_there"}
    monkeypatch.setattr(module, "TRIGGERS", triggers)
    found = states(startup_report=True, enabled_instrumentations=("good", "old", "missing", "bad"))
    assert [found[name] for name in triggers] == ["waiting", "failed", "absent", "absent"]


def test_an_instrumentor_that_imports_the_library_itself_is_attached_when_it_has_run(tmp_path: Path) -> None:
    """Contrib's for httpx is imported at once for httpx2, and imports both."""
    folder = tmp_path / "both-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: both\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[opentelemetry_instrumentor]\nearly = both_module:Early\nlate = both_module:Late\n"
    )
    (tmp_path / "late_library.py").write_text("")
    (tmp_path / "both_module.py").write_text(
        "import late_library\nclass Early:\n"
        "    def instrument(self, **_):\n        print(type(self).__name__)\n"
        "class Late(Early): ...\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from spanwise.instrumentors import load as module\nfrom spanwise.settings import Settings\n"
        "module.TRIGGERS['late'] = 'late_library'\n"
        "module.load(Settings(enabled_instrumentations=('early', 'late')))\nimport wave"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert (sorted(done.stdout.split()), done.stderr) == (["Early", "Late"], "")


INSTALLED = [
    (name, trigger)
    for name, trigger in TRIGGERS.items()
    if find_spec(f"opentelemetry.instrumentation.{name.replace('-', '_')}")
    and find_spec(trigger.partition(".")[0])
]


@pytest.mark.parametrize(("name", "trigger"), INSTALLED)
def test_contrib_s_attach_at_the_import_of_what_the_table_names(name: str, trigger: str) -> None:
    child = Path(__file__).with_name("attach_child.py")
    done = subprocess.run([sys.executable, child, name, trigger], capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize(
    ("asked", "whose"),
    [
        ("", "Ours"),
        ("http,database", "Ours"),
        ("http/dup", "Other"),
        ("http,http/dup", "Other"),
        ("database", "Other"),
    ],
)
def test_contrib_is_used_where_other_names_are_asked_for_than_ours(
    asked: str, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STABLE_ONLY", {"mine": "http"})
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", asked)
    states()
    assert [name for name, _ in calls] == ["Good", whose]
