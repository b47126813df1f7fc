"""All meters of a process together: names as the conventions have them, rules that fit, little cost."""

from __future__ import annotations

import gc
import logging
from importlib import import_module
from typing import Any

import psutil
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from spanwise import names
from spanwise.meters import readings, runtime, standard, system
from spanwise.rules.model import MetricRule
from spanwise.thresholds.load import load, lower


def collected() -> list[tuple[str, Any]]:
    """(scope, metric) of two collections ten seconds apart."""
    reader = InMemoryMetricReader()
    standard.observe(MeterProvider([reader], shutdown_on_exit=False))
    reader.collect()
    data: Any = reader.get_metrics_data()
    return [
        (scope.scope.name, metric)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """As `collected`, with a clock and CPUs that go on by ten seconds at each look."""
    now, real = [1000.0], psutil.cpu_times

    def clock() -> float:
        now[0] += 10
        return now[0]

    monkeypatch.setattr(readings, "_now", clock)
    monkeypatch.setattr(psutil, "cpu_times", lambda: real()._replace(idle=now[0]))
    return collected()


class Noted:
    """Notes the instruments that the conventions' own package makes."""

    def __getattr__(self, create: str) -> Any:
        return lambda name, unit="", description="", callbacks=None: (create, name, unit)


KINDS = {"counter": "counter", "up_down_counter": "updowncounter", "histogram": "histogram", "gauge": "gauge"}


@pytest.mark.parametrize(
    "metric",
    [
        each
        for each in vars(names).values()
        if isinstance(each, names.Metric)
        and each.source == "semconv"
        and each.name.split(".")[0] in ("process", "system", "container", "cpython")
    ],
    ids=lambda each: each.name,
)
def test_name_unit_and_kind_are_the_conventions(metric: names.Metric) -> None:
    module = import_module(f"opentelemetry.semconv._incubating.metrics.{metric.name.split('.')[0]}_metrics")
    function = getattr(module, "create_" + metric.name.replace(".", "_"))
    arguments = (Noted(), None) if function.__code__.co_argcount == 2 else (Noted(),)
    create, name, unit = function(*arguments)
    kind = KINDS[create.removeprefix("create_").removeprefix("observable_")]
    assert (name, unit, kind) == (metric.name, metric.unit, metric.kind)


def test_every_scope_is_one_of_the_process(found: list[tuple[str, Any]]) -> None:
    """Else a process that only exists would report."""
    scopes = {scope for scope, _ in found}
    assert scopes <= names.SCOPES_OF_THE_PROCESS
    assert len(scopes) >= 3


@pytest.mark.parametrize("name", ["cpu", "system_memory", "memory"])
def test_the_shipped_rule_is_about_one_point(name: str, found: list[tuple[str, Any]]) -> None:
    """A level holds for each point on its own: the idle CPU's share must not be among those of the busy."""
    rules = {rule.name: rule for rule in lower(load()) if isinstance(rule, MetricRule)}
    series = rules[name].series
    points = [
        point
        for _, metric in found
        if metric.name == series.metric
        for point in metric.data.data_points
        if all(str(point.attributes.get(key)) == value for key, value in series.labels)
    ]
    assert len(points) == 1
    assert next(metric.unit for _, metric in found if metric.name == series.metric) == series.unit


def test_few_series(found: list[tuple[str, Any]]) -> None:
    assert sum(len(metric.data.data_points) for _, metric in found) < 150


def test_a_group_that_cannot_be_made_costs_one_debug_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise OSError("not this platform")

    monkeypatch.setattr(system, "observe", broken)
    with caplog.at_level(logging.DEBUG, "spanwise"):
        scopes = {scope for scope, _ in collected()}
    assert names.SCOPE_SYSTEM not in scopes
    assert {names.SCOPE_PROCESS, names.SCOPE_RUNTIME} <= scopes
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


def test_the_garbage_collector(collecting: Any) -> None:
    callbacks = list(gc.callbacks)
    try:
        collect = collecting(runtime.observe)
        before = collect()
        cycles: list[Any] = []
        for _ in range(1000):
            cycle: list[Any] = []
            cycle.append(cycle)
        del cycle, cycles
        gc.collect()
        after = collect()
    finally:
        gc.callbacks[:] = callbacks

    def of_oldest(points: dict[str, Any], metric: names.Metric) -> float:
        return {each[names.GC_GENERATION]: value for each, value in points[metric.name]}[2]

    assert of_oldest(after, names.GC_COLLECTIONS) >= of_oldest(before, names.GC_COLLECTIONS) + 1
    assert (
        sum(v for _, v in after[names.GC_COLLECTED.name])
        >= sum(v for _, v in before[names.GC_COLLECTED.name]) + 1000
    )
    # The process's, however long it has run.
    assert 0 < of_oldest(after, names.GC_PAUSE) - of_oldest(before, names.GC_PAUSE) < 60
    assert len(after[names.GC_UNCOLLECTABLE.name]) == 3


def test_providers_that_come_and_go_leave_one_callback(collecting: Any) -> None:
    callbacks = list(gc.callbacks)
    try:
        gc.callbacks[:] = []
        for _ in range(3):
            collect = collecting(runtime.observe)
        assert len(gc.callbacks) == 1
        assert names.GC_PAUSE.name in collect()
    finally:
        gc.callbacks[:] = callbacks


@pytest.mark.parametrize("of_process", [True, False])
@pytest.mark.parametrize("kept", [True, False])
def test_with_a_history_the_meters_wait_and_without_they_are_made_now(of_process: bool, kept: bool) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    limits = {"interval": 3600 * 10**9, "samples": 7}
    sampler = standard.sampler(
        provider, reader.get_metrics_data if kept else None, limits, of_process=of_process
    )
    assert (sampler is not None) is kept
    assert bool(reader.get_metrics_data()) is (of_process and not kept)
    if sampler is not None:
        assert sampler.interval == 3600
        sampler.end()
        assert bool(reader.get_metrics_data()) is of_process
