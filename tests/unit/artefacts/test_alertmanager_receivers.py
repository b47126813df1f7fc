"""Alertmanager's receivers: each handler where its severities are, addresses only where one is read."""

from __future__ import annotations

from typing import Any

import yaml

from spanwise.artefacts.alertmanager import alertmanager
from spanwise.rules.alerting import SEVERITIES
from spanwise.thresholds.load import read

TEXT = """
version: 1
alerts:
  throttle: 7m
  repeat: 3h
  handlers:
    ops: {webhook: 'https://ops.example/a'}
    more: {webhook: {file: /run/hook}, severities: [info]}
    chat: {slack: 'https://chat.example/b', severities: [warning, critical]}
    duty: {pagerduty: {file: /run/key}, severities: [critical]}
    log: {severities: [critical]}
"""


def written(text: str) -> Any:
    return yaml.safe_load(alertmanager(read(text).rules))


def test_each_severity_tells_its_handlers() -> None:
    tree = written(TEXT)
    receivers = {each.pop("name"): each for each in tree["receivers"]}
    told = {
        name: {
            key: [
                next(iter(set(one) & ADDRESSES)) + " " + one[next(iter(set(one) & ADDRESSES))] for one in some
            ]
            for key, some in each.items()
        }
        for name, each in receivers.items()
    }
    ops = "url https://ops.example/a"
    chat = "api_url https://chat.example/b"
    assert told == {
        "critical": {
            "slack_configs": [chat],
            "pagerduty_configs": ["routing_key_file /run/key"],
            "webhook_configs": [ops],
        },
        "warning": {"slack_configs": [chat], "webhook_configs": [ops]},
        "info": {"webhook_configs": ["url_file /run/hook", ops]},
        "other": {},
    }
    assert all(one["send_resolved"] for each in receivers.values() for some in each.values() for one in some)


ADDRESSES = {"url", "url_file", "api_url", "api_url_file", "routing_key", "routing_key_file"}


def test_throttle_and_repeat() -> None:
    route = written(TEXT)["route"]
    assert (route["group_interval"], route["repeat_interval"]) == ("7m", "3h")
    assert [each["receiver"] for each in route["routes"]] == list(SEVERITIES)


def test_the_worse_silences_the_milder() -> None:
    pairs = {
        (rule["source_matchers"][0], rule["target_matchers"][0]) for rule in written(TEXT)["inhibit_rules"]
    }
    assert pairs == {
        ('severity="critical"', 'severity="warning"'),
        ('severity="critical"', 'severity="info"'),
        ('severity="warning"', 'severity="info"'),
    }


def test_the_log_is_not_alertmanagers() -> None:
    assert all(set(each) == {"name"} for each in written("version: 1\n")["receivers"])
