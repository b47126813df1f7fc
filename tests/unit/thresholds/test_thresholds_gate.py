"""The section gate: of a thresholds file."""

from __future__ import annotations

import pytest

from spanwise.errors import ThresholdsError
from spanwise.rules.model import Trigger
from spanwise.thresholds.load import describe, load, read


def triggers(text: str) -> dict[str, Trigger]:
    return {each.name: each for each in read(text).rules if isinstance(each, Trigger)}


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ("{memry: {limit: 1GB}}", "no entry of metrics: is 'memry'"),
        ("{mine: {metric: memry}}", "Did you mean 'memory'"),
        ("{memory: {limit: 1s}}", "limit is in another unit"),
        ("{http_errors: {limit: 20}}", "20 is more than the whole"),
        ("{memory: {over: 5m}}", "memory is a level"),
        ("{memory: {minimum: 5}}", "memory counts no measurements"),
        ("{memory: {limt: 1GB}}", "unknown key 'limt'"),
        ("{memory: {warning: 1GB}}", "unknown key 'warning'"),
    ],
)
def test_mistakes_are_told_with_their_place(gate: str, said: str) -> None:
    with pytest.raises(ThresholdsError, match=said) as caught:
        read(f"version: 1\ngate: {gate}\n")
    assert "thresholds.yaml:2:" in str(caught.value)


def test_a_trigger_follows_the_metric_that_a_file_changes() -> None:
    text = "version: 1\nmetrics: {latency: {over: 2m, warning: 3s}}\ngate: {latency: {for: 1m}}"
    rule = triggers(text)["latency"].rule
    assert (rule.limit, rule.window, rule.hold, rule.severity) == (3, 120e9, 60e9, "critical")


def test_a_profile_s_gate_and_a_metric_that_is_off() -> None:
    text = (
        "version: 1\nprofile: p\nprofiles: {p: {gate: {memory: {limit: 2GB}}}}\nmetrics: {http_errors: off}"
    )
    found = triggers(text)
    assert set(found) == {"memory"}
    assert found["memory"].rule.limit == 2e9


def test_they_are_described() -> None:
    lines = [line for line in describe(load()) if "rolls back" in line]
    assert "memory: rolls back when process.memory.usage > 1000 MB, for 5m" in lines
