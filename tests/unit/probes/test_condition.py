"""The health: what fires, told by name; nothing is healthy that nothing is known of."""

from __future__ import annotations

import json
import math
import time
from typing import Any, NamedTuple

import pytest

import spanwise
from spanwise.meters.history import History
from spanwise.meters.sampler import Sampler
from spanwise.probes.condition import take
from spanwise.rules.alerting import Severity
from spanwise.rules.model import MetricRule, Series

RATIO = Series("errors", "{error}", "counter")


class Fires(NamedTuple):
    rule: MetricRule
    value: float
    since: float


def fires(name: str, severity: Severity, value: float = 9.0, ago: float = 0.0, **more: Any) -> Fires:
    rule = MetricRule(name, "level", Series(f"{name}.metric", "By", "gauge"), 5.0, severity)
    if more:
        rule = MetricRule(name, "ratio", RATIO, 0.1, severity, of=RATIO)
    return Fires(rule, value, time.monotonic() - ago)


def sampled(age: float = 0.0, interval: float = 30.0) -> Sampler:
    history = History(10)
    history.take(None, time.monotonic() - age)
    return Sampler(lambda: None, interval, history)


def test_without_anything_firing_it_is_healthy() -> None:
    found = take(sampled(), (), "shop")
    assert (found.status, found.issues, found.service, found.reason) == ("healthy", (), "shop", "")
    assert abs(found.time - time.time()) < 60


@pytest.mark.parametrize(
    ("severities", "status"),
    [
        (("info",), "healthy"),
        (("warning", "info"), "warning"),
        (("info", "warning", "critical"), "critical"),
    ],
)
def test_the_worst_severity_is_the_status(severities: tuple[Severity, ...], status: str) -> None:
    found = take(sampled(), [fires(f"r{number}", each) for number, each in enumerate(severities)])
    assert found.status == status
    assert [each.severity for each in found.issues] == sorted(
        severities, key=("critical", "warning", "info").index
    )


def test_a_name_is_told_once_by_its_worst() -> None:
    found = take(
        sampled(),
        [
            fires("m", "warning", 8),
            fires("m", "critical", 7),
            fires("m", "critical", 9, ago=50),
            fires("a", "info"),
        ],
    )
    memory, other = found.issues
    assert (memory.name, memory.severity, memory.value, memory.limit) == ("m", "critical", 9, 5)
    assert (memory.metric, memory.unit) == ("m.metric", "By")
    assert 50 <= memory.seconds < 110
    assert other.name == "a"


def test_it_can_be_json_whatever_the_figures_are() -> None:
    found = take(sampled(), [fires("m", "critical", math.inf, ratio=True)]).as_dict()
    (issue,) = json.loads(json.dumps(found, allow_nan=False))["issues"]
    assert (issue["value"], issue["unit"]) == ("inf", "1")


def test_what_is_not_known_is_unknown() -> None:
    assert "no metrics are sampled" in take(None, ()).reason
    empty = Sampler(lambda: None, 30.0, History(10))
    for sampler, reason in (
        (empty, "no samples yet: there is one every 30 s"),
        (sampled(age=200), "no sample for 200 s"),
    ):
        found = take(sampler, [fires("m", "critical")])
        assert (found.status, found.issues) == ("unknown", ())
        assert reason in found.reason
    assert take(sampled(age=95), ()).status == "healthy"
    assert "the alerts of the process did not begin" in take(sampled(), None).reason


def test_without_telemetry_it_is_unknown() -> None:
    assert spanwise.health().status in ("unknown", "healthy", "warning", "critical")
