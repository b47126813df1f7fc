"""Limits of quantiles are edges of the application's own histograms, with a file and without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spanwise import names
from spanwise.rating.edges import edges
from spanwise.thresholds.load import load, read

DURATION = names.HTTP_SERVER_REQUEST_DURATION


def test_limits_join_the_edges_that_are_there() -> None:
    found = edges(read("version: 1\nmetrics: {latency: {warning: 1.7s, critical: 5s}}").rules)
    assert found == {DURATION.name: tuple(sorted({*DURATION.buckets, 1.7}))}


def test_a_limit_that_is_an_edge_changes_nothing() -> None:
    assert edges(read("version: 1\nmetrics: {latency: {warning: 2.5s}}").rules) == {}
    assert edges(read("version: 1\nmetrics: {latency: off}").rules) == {}


def test_a_histogram_of_somebody_else_is_left_alone() -> None:
    theirs = "{quantile: 0.5, of: their.own, unit: s, over: 5m, warning: 3s}"
    assert edges(read(f"version: 1\nmetrics: {{latency: off, a: {theirs}}}").rules) == {}


PROGRAM = """
import json
import spanwise
spanwise.configure(
    process_meters=False, traces_exporter=("none",), logs_exporter=("none",), metrics_exporter=("console",)
)
from opentelemetry import metrics
from spanwise import names
from spanwise.instruments import make
make(metrics.get_meter("test"), names.HTTP_SERVER_REQUEST_DURATION).record(1)
"""


@pytest.mark.parametrize(("text", "limit"), [("", 2.0), ("metrics: {latency: {warning: 1.7s}}", 1.7)])
def test_the_application_s_histogram_has_them(tmp_path: Path, text: str, limit: float) -> None:
    if text:
        (tmp_path / "thresholds.yaml").write_text(f"version: 1\n{text}\n", encoding="utf-8")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "SPANWISE_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, cwd=tmp_path, env=clean
    )
    assert done.returncode == 0, done.stderr
    points = [
        (metric["name"], point["explicit_bounds"])
        for resource in json.loads(done.stdout)["resource_metrics"]
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
        for point in metric["data"]["data_points"]
        if "explicit_bounds" in point
    ]
    assert dict(points)[DURATION.name] == sorted({*DURATION.buckets, limit})


def test_every_limit_of_the_shipped_thresholds_on_a_known_histogram_is_an_edge() -> None:
    known = {each.name: each for each in vars(names).values() if isinstance(each, names.Metric)}
    found = edges(load().rules)
    for rule in load().rules:
        if getattr(rule, "form", "") == "quantile" and rule.series.metric in known:  # type: ignore[union-attr]
            name = rule.series.metric  # type: ignore[union-attr]
            assert rule.limit in found.get(name, known[name].buckets)  # type: ignore[union-attr]
