"""Every generated file. A new one is a module here and a line in ARTEFACTS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from spanwise.artefacts import agent, alertmanager, collector, grafana, prometheus, prometheus_tests
from spanwise.rules.model import Rule

__all__ = ["ARTEFACTS"]

ARTEFACTS: Final[dict[str, Callable[[tuple[Rule, ...]], str]]] = {
    "agent.yaml": agent.agent,
    "alertmanager.yaml": alertmanager.alertmanager,
    "gateway.yaml": collector.gateway,
    "grafana/spanwise-application.json": grafana.application,
    "grafana/spanwise.json": grafana.overview,
    "prometheus/rules/spanwise.yaml": prometheus.rules_file,
    "prometheus/tests/spanwise.yaml": prometheus_tests.tests_file,
}
"""Path below the output folder -> what renders it."""
