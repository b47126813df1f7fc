"""Generated files: golden, stable, and no text of a rule can be anything but text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from spanwise.artefacts import ottl
from spanwise.artefacts.collector import gateway
from spanwise.artefacts.edges import edges
from spanwise.artefacts.environment import Env, escaped
from spanwise.artefacts.prometheus import rules_file
from spanwise.artefacts.prometheus_names import metric, selector
from spanwise.artefacts.table import ARTEFACTS
from spanwise.commands.generate import generate
from spanwise.rules.model import AttributeMatch, Match, MetricRule, Rule, Sampling, Series, SpanRule
from spanwise.thresholds.load import load, lower, read

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).resolve().parents[3]
SAMPLING = Sampling(("error", "poor"), 10.0, 10**10)
HOSTILE = st.text(
    st.sampled_from("${}env:SECRET\"'\n\r\t\\`#%[]&*!|>@ é🎵\x00\x85\u2028")
    | st.characters(exclude_categories=["Cs"]),
    min_size=1,
) | st.sampled_from(["${env:SECRET}", "$${x}", '"', "\\", "\n", "{{ .Labels }}", "{{{", "null", "- a: b"])


@pytest.mark.parametrize("name", sorted(ARTEFACTS))
def test_golden(name: str) -> None:
    """After a meant change: regenerate with `spanwise generate --out tests/unit/artefacts/golden`."""
    assert ARTEFACTS[name](lower(load())) == (GOLDEN / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(ARTEFACTS))
def test_the_committed_files_are_fresh(name: str) -> None:
    rules = lower(load(ROOT / "thresholds.yaml"))
    assert ARTEFACTS[name](rules) == (ROOT / "collector" / name).read_text(encoding="utf-8")


def rules_with(text: str) -> tuple[Rule, ...]:
    match = Match("server", text, (AttributeMatch(text, text),))
    series = Series("a.b", "s", "counter", ((text, text),))
    return (
        SpanRule(text, (match,), 1, 2, 3),
        MetricRule(text, "ratio", series, 0.5, "warning", of=series, window=10**9),
        SAMPLING,
    )


def shape(tree: Any) -> Any:
    """The tree with each OTTL statement's literals taken out."""
    if isinstance(tree, dict):
        return {key: shape(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [shape(each) for each in tree]
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', tree) if isinstance(tree, str) else tree


@given(HOSTILE)
def test_no_text_changes_the_collectors_configuration(text: str) -> None:
    written = gateway(rules_with(text))
    found, harmless = yaml.safe_load(written), yaml.safe_load(gateway(rules_with("x")))
    assert shape(found) == shape(harmless)
    statements = found["processors"]["transform/threshold"]["trace_statements"][0]["statements"]
    for statement in statements:
        # Every dollar is doubled, so that the Collector expands nothing there.
        assert "$" not in statement.replace("$$", "")
        assert statement.isascii()
        assert statement.isprintable()
    # The name set on the span, read back as the Collector would: dollars halved, then the literal.
    named = next(
        each for each in statements if each.startswith('set(span.attributes["spanwise.rating.rule"]')
    )
    literal = re.search(r', ("(?:[^"\\]|\\.)*")\) where', named.replace("$$", "$"))
    assert literal
    assert unquoted(literal[1]) == text


def unquoted(literal: str) -> str:
    """Go's literal as JSON, which differs in characters beyond 16 bits only."""
    as_json = re.sub(r"\\\\|\\U([0-9a-f]{8})", lambda m: chr(int(m[1], 16)) if m[1] else m[0], literal)
    return str(json.loads(as_json))


@given(HOSTILE)
def test_no_text_changes_prometheus_rules(text: str) -> None:
    found = yaml.safe_load(rules_file(rules_with(text)))["groups"][0]["rules"]
    assert len(found) == 1
    assert found[0]["alert"] == text
    assert found[0]["labels"] == {"severity": "warning"}
    literals = re.findall(r'"(?:[^"\\]|\\.)*"', found[0]["expr"])
    assert {unquoted(each) for each in literals} == {text}
    # As Go's templates read it: the name's braces are text.
    summary = found[0]["annotations"]["summary"]
    actions = re.sub(re.escape('{{"{{"}}'), "", summary)
    assert re.findall(r"\{\{[^{}]*\}\}", actions) == ["{{ $labels.service_name }}"]
    assert summary.replace('{{"{{"}}', "{{").startswith(f"{text} is above")


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
