"""All rules together: one verdict, and what nobody sends."""

from __future__ import annotations

from typing import Any

from spanwise.gate.gate import EXIT, Verdict, ask
from spanwise.gate.questions import Scope, questions
from spanwise.gate.server import Line
from spanwise.thresholds.load import read

NOW = 10_000.0
WINDOW = 600.0
RULES = """
version: 1
metrics: {latency: {over: 5m, for: 1m, critical: 2s}}
gate: {http_errors: off}
"""


class Fake:
    """Answers by what an expression contains.

    Attributes:
        figures: value by a part of the expression, over the whole window.
        known: what has a value at a moment, by a part of the expression.
    """

    def __init__(self, **known: list[Line]) -> None:
        self.warnings: list[str] = []
        self.figures: dict[str, float] = {"process_memory_usage_bytes": 1.0}
        self.known: dict[str, list[Line]] = {"count({": [Line({}, [(NOW, 3.0)])], **known}

    def now(self) -> float:
        return NOW

    def at(self, expression: str, moment: float) -> list[Line]:
        assert moment <= NOW
        return next((lines for part, lines in self.known.items() if part in expression), [])

    def over(self, expression: str, start: float, end: float, step: float) -> list[Line]:
        value = next((value for part, value in self.figures.items() if part in expression), None)
        if value is None:
            return []
        moments = [start + step * number for number in range(int((end - start) / step) + 1)]
        return [Line({"service_name": "shop"}, [(at, value) for at in moments])]


def verdict(server: Fake, scope: Scope, text: str = RULES) -> Verdict:
    asked = questions(read(text).rules, scope, int(WINDOW * 1e9))
    return ask(asked, scope, server, WINDOW)  # type: ignore[arg-type]


def rows(found: Verdict) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in found.as_dict()["rules"]}


SHOP = Scope("shop", "2")


def test_one_breach_is_enough_and_stands_first() -> None:
    server = Fake()
    assert verdict(server, SHOP).verdict == "good"
    server.figures["http_server_request_duration_seconds"] = 3.0
    found = verdict(server, SHOP)
    assert (found.verdict, EXIT[found.verdict]) == ("breached", 1)
    assert [each.question.rule.name for each in found.findings][:2] == ["latency", "memory"]


def test_a_metric_that_the_service_no_longer_sends_cannot_be_told() -> None:
    server = Fake()
    assert rows(verdict(server, SHOP))["latency"]["verdict"] == "unmeasured"
    server.known = {"last_over_time(http_server_request_duration": [Line({}, [(1, 1.0)])], **server.known}
    found = verdict(server, SHOP)
    assert (found.verdict, EXIT[found.verdict]) == ("unknown", 2)
    assert "measured before, and not any more" in rows(found)["latency"]["reason"]


def test_a_trigger_that_nothing_measures_cannot_be_told() -> None:
    found = verdict(Fake(), SHOP, "version: 1")
    assert found.verdict == "unknown"
    assert "gate: {http_errors: off}" in rows(found)["http_errors"]["reason"]


def test_nobody_there() -> None:
    server = Fake()
    server.known = {}
    found = verdict(server, SHOP)
    assert (found.verdict, found.findings) == ("unknown", ())
    assert "Prometheus has nothing of service_name=shop, service_version=2. Is the name right" in found.reason
    server.known = {
        "count by (service_version)": [Line({"service_version": each}, [(1, 1.0)]) for each in "13"]
    }
    assert "of the service's versions it has: 1, 3" in verdict(server, SHOP).reason
    server.known = {"count by (service_version)": [Line({}, [(1, 1.0)])]}
    assert "none named (OTEL_RESOURCE_ATTRIBUTES)" in verdict(server, SHOP).reason


def test_nothing_measured_is_not_good() -> None:
    server = Fake()
    server.figures = {}
    found = verdict(server, SHOP, "version: 1\ngate: {memory: off, http_errors: off}")
    assert (found.verdict, found.reason) == ("unknown", "nothing that has a limit is measured")


def test_an_answer_with_a_warning_is_not_good_and_a_breach_stays_one() -> None:
    server = Fake()
    server.warnings = ["2 of 3 stores unreachable, partial response"]
    found = verdict(server, SHOP)
    assert (found.verdict, EXIT[found.verdict]) == ("unknown", 2)
    assert "2 of 3 stores unreachable, partial response" in found.reason
    server.figures["process_memory_usage_bytes"] = 1e12
    assert verdict(server, SHOP).verdict == "breached"
