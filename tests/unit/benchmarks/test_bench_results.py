"""The benchmark's table and chart, from measurements made up here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from benchmarks import collect, receiver
from benchmarks.arms import ARMS, OFF, OURS, Arm
from benchmarks.chart import svg
from benchmarks.collect import Measurement, verified
from benchmarks.figures import TARGETS, Results
from benchmarks.plan import WORKLOADS, Figure, Workload
from benchmarks.table import markdown

ABOUT: dict[str, Any] = {
    "date": "2030-01-02",
    "rounds": 3,
    "quick": False,
    "python": "3.11.0",
    "system": "Linux x86_64",
    "cores": 2,
    "cpu": "A <fast> CPU",
    "load": "0.1",
    "commit": "abc1234",
    "versions": {"stock": "1.0", "spanwise": "2.0"},
}


def spans(arm: str, value: float, **more: Any) -> Measurement:
    return Measurement("span_cost", arm, 0, {"process_8": value}, **more)


def start(arm: str, value: float) -> Measurement:
    return Measurement("start_up", arm, 0, {"wall": value, "rss": value})


def row(text: str, start: str) -> str:
    """The one line that begins so."""
    (found,) = [line for line in text.splitlines() if line.startswith(start)]
    return found


def test_medians_spreads_and_ratios() -> None:
    results = Results([spans("stock", 50), spans("stock", 60), spans("stock", 40), spans(OURS, 5)])
    spread = results.spread("span_cost", "process_8", "stock")
    assert spread is not None
    assert (spread.median, spread.low, spread.high) == (50, 40, 60)
    assert results.reached(TARGETS[0]) == pytest.approx(0.1)
    assert results.reached(TARGETS[1]) is None
    assert results.spread("span_cost", "thread_8", "stock") is None


def test_start_up_is_compared_after_taking_plain_away() -> None:
    results = Results([start("plain", 100), start("stock", 500), start(OURS, 200)])
    assert results.ratio("start_up", "wall", OURS, "stock") == pytest.approx(0.25)
    assert Results([start("stock", 500), start(OURS, 200)]).ratio("start_up", "wall", OURS, "stock") is None
    # An arm that adds nothing measurable cannot be the measure.
    assert Results([start("plain", 1), start("stock", 1), start(OURS, 2)]).reached(TARGETS[4]) is None


def test_each_is_compared_with_the_plain_one_beside_it() -> None:
    pairs = [(100, 150), (300, 360), (200, 270)]
    plain, ours = ([start(arm, pair[k]) for pair in pairs] for k, arm in enumerate(("plain", OURS)))
    spread = Results([*plain, *ours]).spread("start_up", "wall", OURS)
    assert spread is not None
    assert (spread.median, spread.low, spread.high) == (60, 50, 70)
    # One failed: which lay beside which is not known.
    fewer = Results([*plain, *ours[1:]]).spread("start_up", "wall", OURS)
    assert fewer is not None
    assert (fewer.low, fewer.high) == (70, 160)


def test_targets_are_judged_honestly() -> None:
    text = markdown(Results([spans("stock", 100), spans("ddtrace", 20), spans(OURS, 12)]), ABOUT)
    assert row(text, "| span, 8").endswith("| 0.12 | 0.120 | met |")
    assert row(text, "| the same").endswith("| 0.5 | 0.600 | **not met** |")
    assert row(text, "| encode only").endswith("| – | not measured |")
    assert row(text, "| spans dropped").endswith("| – | not measured |")
    assert "stock 1.0, spanwise 2.0" in text


@pytest.mark.parametrize(
    ("arrived", "verdict"), [(10_000, "| 0.00% | met |"), (9_990, "| 0.10% | **not met** |")]
)
def test_drops_at_the_highest_rate(arrived: int, verdict: str) -> None:
    sent, got = {"work-10000": 10_000, "work-1000": 1_000}, {"work-10000": arrived, "work-1000": 0}
    results = Results([Measurement("job_slowdown", OURS, 0, {"slow_10000": 3.0}, sent, got)])
    text = markdown(results, ABOUT)
    assert row(text, "| spans dropped").endswith(verdict)
    assert f"| 100.00% | – | {1 - arrived / 10_000:.2%} |" in row(text, f"| **{OURS}**")


def test_an_arm_that_cannot_keep_the_rate_is_told_of() -> None:
    sent = {"work-1000": 1_500.0, "work-5000": 7_400.0, "work-10000": 6_000.0}
    results = Results([Measurement("job_slowdown", "sentry", 0, {"slow_1000": 3.0}, sent, sent)])
    found = row(markdown(results, ABOUT), "| sentry")
    assert found.endswith("| 0.00% | 0.00% | 0.00%, 60% never made |")


def test_fewer_spans_and_attributes_are_told() -> None:
    fewer = spans("sentry", 1, sent={"work-8": 100, "work-0": 100}, arrived={"work-8": 90, "work-0": 130})
    bare = spans("elastic", 1, sent={"work-8": 100}, arrived={"work-8": 100}, attributes={"work-8": 7.5})
    whole = spans("elastic", 1, sent={"work-8": 100}, arrived={"work-8": 100}, attributes={"work-8": 8})
    broken = Measurement("span_cost", "splunk", 0, error="exit status 1: ImportError: x")
    text = markdown(
        Results([fewer, whole, bare, broken, spans(OURS, 1, sent={"work-8": 1}, arrived={"work-8": 1})]),
        ABOUT,
    )
    assert row(text, "| sentry").endswith("| 5.00% FEWER |")
    assert row(text, "| elastic").endswith("| all, 7.5 of 8 attributes |")
    assert row(text, f"| **{OURS}**").endswith("| all |")
    assert "splunk failed: exit status 1: ImportError: x" in text


def test_what_arrived_is_held_against_what_was_sent() -> None:
    received = {"spans": {"work-8": 9, "other": 3}, "attributes": {"work-8": 72}, "metrics": {"m": 5}}
    one = Measurement("span_cost", "stock", 0)
    verified(one, {"spans": {"work-8": 10, "work-0": 4}, "metrics": {"m": 5, "n": 1}}, received)
    assert one.sent == {"work-8": 10, "work-0": 4, "m": 5, "n": 1}
    assert one.arrived == {"work-8": 9, "work-0": 0, "m": 5, "n": 0}
    assert one.attributes == {"work-8": 8}
    request = Measurement("flask_request", "stock", 0, {"process": 1.0})
    verified(request, {"any_spans": 12, "requests": 2}, received)
    assert (request.sent, request.arrived) == ({"*": 12}, {"*": 12})
    assert Results([request]).a_request("flask_request", "stock") == 6
    plain = Measurement("flask_request", "plain", 0, {"process": 1.0})
    verified(plain, {"any_spans": 12, "requests": 2}, {"spans": {}})
    assert Results([plain]).lost("flask_request", "plain") is None


def test_the_chart_draws_each_arm_in_proportion() -> None:
    results = Results(
        [spans("stock", 60), spans(OURS, 6), spans("<odd>", 30), start("plain", 100), start("stock", 90)]
    )
    drawn = ElementTree.fromstring(svg(results, ABOUT))
    name = "{http://www.w3.org/2000/svg}"
    bars = [(bar.get("class"), float(bar.get("width", "0"))) for bar in drawn.iter(f"{name}rect")]
    shortest, middle, longest = (width for _, width in bars[:3])
    assert [kind for kind, _ in bars[:3]] == ["ours", "bar", "bar"]
    assert longest / shortest == pytest.approx(10, rel=0.01)
    assert longest / middle == pytest.approx(2, rel=0.01)
    # Start-up, time and memory: plain has no bar, and below plain there is no negative one.
    assert bars[3:] == [("bar", 1.0), ("bar", 1.0)]
    texts = [text.text for text in drawn.iter(f"{name}text")]
    assert "<odd>" in texts
    assert "6.00 µs" in texts
    assert texts[0] is not None
    assert "A <fast> CPU" in texts[0]
    assert "prefers-color-scheme: dark" in svg(results, ABOUT)


def test_every_arm_and_workload_has_its_script() -> None:
    from benchmarks.collect import SCRIPTS

    for arm in ARMS.values():
        assert (SCRIPTS / "drivers" / f"{arm.driver}.py").is_file()
    for workload in WORKLOADS.values():
        assert (SCRIPTS / f"{workload.script or workload.name}.py").is_file()
        assert any(workload.takes(arm) for arm in ARMS.values())
    known = {(workload.name, figure.key) for workload in WORKLOADS.values() for figure in workload.figures}
    assert {(target.workload, target.figure) for target in TARGETS} <= known


def test_a_target_without_another_arm_is_a_figure() -> None:
    off = Measurement("start_up", OFF, 0, {"wall": 120})
    text = markdown(Results([start("plain", 100), off]), ABOUT)
    assert row(text, "| such a process with telemetry disabled").endswith("| – | 25 | 20.000 | met |")


def test_a_process_is_timed_from_outside_with_logs_on(tmp_path: Path) -> None:
    """A real one, whose exit takes the longest."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    code = (
        "import atexit, json, os, time\n"
        "def burn():\n    until = time.process_time() + 0.2\n    while time.process_time() < until: pass\n"
        "atexit.register(burn)\n"
        "print(json.dumps({'values': {'ready': 1.0, 'logs': os.environ['OTEL_LOGS_EXPORTER'] == 'otlp'}}))"
    )
    (tmp_path / "made_up.py").write_text(code)
    work = Workload("made_up", "Made up", "ms", (Figure("wall", "time"),), outside=True)
    arm = Arm("stock", "flask", "otel", environment={"OTEL_LOGS_EXPORTER": "none"})
    with pytest.MonkeyPatch.context() as patched, receiver.sink() as sink:
        patched.setattr(collect, "SCRIPTS", tmp_path)
        found = collect.measure(work, arm, 0, tmp_path, sink, quick=True)
    assert found.error == ""
    assert (found.values["ready"], found.values["logs"]) == (1.0, True)
    assert found.values["cpu"] >= 200
    assert found.values["wall"] >= 200
