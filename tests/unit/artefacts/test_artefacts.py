"""Generated files: golden, stable, and no text of a rule can be anything but text."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from spanwise.artefacts import ottl
from spanwise.artefacts.edges import edges
from spanwise.artefacts.environment import Env, escaped
from spanwise.artefacts.prometheus_names import metric, selector
from spanwise.artefacts.table import ARTEFACTS
from spanwise.commands.generate import generate
from spanwise.errors import MissingExtraError
from spanwise.rules.model import Rule, Series
from spanwise.thresholds.load import load, lower, read

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).resolve().parents[3]


def rendered(name: str, rules: tuple[Rule, ...]) -> str:
    try:
        return ARTEFACTS[name](rules)
    except MissingExtraError:
        if sys.version_info >= (3, 11):
            raise
        pytest.skip("Grafana's model needs Python 3.11")


@pytest.mark.parametrize("name", sorted(ARTEFACTS))
def test_golden(name: str) -> None:
    """After a meant change: regenerate with `spanwise generate --out tests/unit/artefacts/golden`."""
    assert rendered(name, lower(load())) == (GOLDEN / name).read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    golden = {path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*") if path.is_file()}
    assert golden == set(ARTEFACTS)


@pytest.mark.parametrize("name", sorted(ARTEFACTS))
def test_the_committed_files_are_fresh(name: str) -> None:
    rules = lower(load(ROOT / "thresholds.yaml"))
    assert rendered(name, rules) == (ROOT / "collector" / name).read_text(encoding="utf-8")


@given(st.integers(0, 1 << 62))
def test_seconds_are_the_same_double_as_in_the_process(nanoseconds: int) -> None:
    assert float(ottl.seconds(nanoseconds)) == nanoseconds / 1_000_000_000
    assert re.fullmatch(r"\d+\.\d+", ottl.seconds(nanoseconds))


def test_only_our_references_stay_unescaped() -> None:
    assert escaped({"$k": ["${env:A}", Env("B", "c"), 5]}) == {"$$k": ["$${env:A}", "${env:B:-c}", 5]}


def test_every_edge_is_a_bucket() -> None:
    rules = lower(read("version: 1\nspans: {a: {match: {b: c}, good: 7ns, acceptable: 8us, poor: 9s}}"))
    assert {7, 8_000, 9_000_000_000, 2_000_000_000} <= set(edges(rules))
    assert edges(rules) == sorted(set(edges(rules)))


@pytest.mark.parametrize(
    ("series", "name"),
    [
        (Series("process.memory.usage", "By", "gauge"), "process_memory_usage_bytes"),
        (Series("http.server.request.duration", "s", "histogram"), "http_server_request_duration_seconds"),
        (Series("system.cpu.utilization", "1", "gauge"), "system_cpu_utilization_ratio"),
        (Series("preload.events", "{event}", "counter"), "preload_events_total"),
        (Series("queue.fill", "1", "updowncounter"), "queue_fill"),
        (Series("disk.speed", "By/s", "gauge"), "disk_speed_bytes_per_second"),
    ],
)
def test_prometheus_names(series: Series, name: str) -> None:
    assert metric(series) == name


def test_a_selector_carries_its_labels() -> None:
    assert selector(Series("a", "1", "counter", (("b.c", 'd"'),))) == 'a_total{b_c="d\\""}'


def test_check_is_quiet_when_fresh_and_shows_a_diff_when_stale(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out"), "--thresholds", str(tmp_path / "t.yaml")]
    (tmp_path / "t.yaml").write_text("version: 1\n", encoding="utf-8")
    run = CliRunner().invoke
    missing = run(generate, [*out, "--check"])
    assert missing.exit_code == 1
    assert "missing: " in missing.output
    assert "+" not in missing.output
    assert run(generate, out).exit_code == 0
    fresh = run(generate, [*out, "--check"])
    assert (fresh.exit_code, fresh.output) == (0, "")
    (tmp_path / "t.yaml").write_text("version: 1\nspans: {db.client: {good: 77ms}}\n", encoding="utf-8")
    stale = run(generate, [*out, "--check"])
    assert stale.exit_code == 1
    assert "+" in stale.output
    assert "77000000" in stale.output


def test_what_needs_an_extra_is_named_and_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(rules: tuple[Rule, ...]) -> str:
        del rules
        raise MissingExtraError("grafana", "a Grafana dashboard")

    monkeypatch.setitem(ARTEFACTS, "grafana/spanwise.json", lacking)
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    written = run(generate, ["--out", "out"])
    assert written.exit_code == 0
    assert "left out: out/grafana/spanwise.json" in written.output
    assert "spanwise[grafana]" in written.output
    assert (tmp_path / "out/gateway.yaml").is_file()
    # What has just been generated is not stale. Of what another installation has made, nobody can tell.
    assert run(generate, ["--out", "out", "--check"]).exit_code == 0
    (tmp_path / "out/grafana/spanwise.json").write_text("{}", encoding="utf-8")
    assert run(generate, ["--out", "out", "--check"]).exit_code == 2
    (tmp_path / "out/gateway.yaml").write_text("stale", encoding="utf-8")
    assert run(generate, ["--out", "out", "--check"]).exit_code == 1
