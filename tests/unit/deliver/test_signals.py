"""The SDK's ends: what is taken, who stays silent, temporality as the stock exporter has it."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.environment_variables import OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind

from spanwise import names
from spanwise.context import get_context
from spanwise.deliver import selfmetrics
from spanwise.deliver.account import Account
from spanwise.deliver.answer import Answer, Fate
from spanwise.deliver.channel import Channel
from spanwise.deliver.signals import MetricDelivery, MetricSampling, SpanDelivery, _temporality
from spanwise.deliver.source import Queue
from spanwise.deliver.span_segment import SpanSegment
from spanwise.encode.request import Piece
from spanwise.fixed import Fixed
from spanwise.meters import standard
from spanwise.spans.provider import TracerProvider


class Taken:
    """Takes every request."""

    def send(self, body: Sequence[Piece], timeout: float | None = None) -> Answer:
        return Answer(Fate.DELIVERED)

    def close(self) -> None:
        """Nothing is open."""


def channel(signal: str) -> Channel:
    """A channel whose items are looked at in the queue."""
    source = Queue(Account(signal), lambda items, _: b"x" * len(items), capacity=3, batch=3)
    return Channel(source, Taken(), address="", delay=60)


def spans(folder: Path) -> Channel:
    """The spans' channel, as the pipeline makes it."""
    source = SpanSegment(Account("traces"), capacity=10, batch=10, folder=folder, label="here")
    return Channel(source, Taken(), address="", delay=60)


class ByName(Sampler):
    """The span's name is the decision."""

    def should_sample(
        self, parent_context: Any, trace_id: int, name: str, *_: Any, **__: Any
    ) -> SamplingResult:
        return SamplingResult(Decision[name])

    def get_description(self) -> str:
        return "by name"


class Seen(SpanProcessor):
    """Counts the ended spans that processors get to see."""

    count = 0

    def on_end(self, span: Any) -> None:
        self.count += 1


@pytest.mark.parametrize("kind", [TracerProvider, sdk.TracerProvider])
def test_only_sampled_spans_are_exported(kind: type[sdk.TracerProvider], tmp_path: Path) -> None:
    made = spans(tmp_path)
    provider, seen = kind(sampler=ByName(), shutdown_on_exit=False), Seen()
    delivery = SpanDelivery(made, lambda _: True)
    provider.add_span_processor(delivery)
    provider.add_span_processor(seen)
    tracer = provider.get_tracer("t")
    for name in ("DROP", "RECORD_ONLY", "RECORD_AND_SAMPLE"):
        tracer.start_span(name).end()
    assert seen.count == 2
    assert made.waiting == 1
    delivery.shutdown()
    tracer.start_span("RECORD_AND_SAMPLE").end()
    assert made.waiting == 1


@pytest.mark.filterwarnings("error")
def test_a_filter_sees_of_a_leaf_what_it_sees_of_a_span(tmp_path: Path) -> None:
    """The deprecated name of its scope too, and without a warning that would be the application's."""
    delivery, seen = SpanDelivery(spans(tmp_path), lambda _: True), []
    delivery.on_end = seen.append  # type: ignore[method-assign]
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(delivery)
    for version in ("1.2", None):
        tracer: Any = provider.get_tracer("t", version)
        with tracer.start_as_current_span("parent"):
            assert tracer.leaf("leaf", SpanKind.CLIENT, Fixed({"k": 1}), get_context(), 5, 9)
    for leaf, span, version in ((*seen[:2], "1.2"), (*seen[2:], "")):
        assert (leaf.name, span.name) == ("leaf", "parent")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            info, expected = leaf.instrumentation_info, span.instrumentation_info
        assert (info.name, info.version) == (expected.name, expected.version or "") == ("t", version)
    delivery.on_leaf(provider.resource, None, ((7, 8, False, 1), 2, "of no scope", 2, 5, 9, {}))
    assert seen[-1].name == "of no scope"


@pytest.mark.parametrize("preference", ["cumulative", "delta", "lowmemory"])
def test_temporality_is_the_stock_exporter_s(preference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE, preference)
    stock = OTLPMetricExporter()._preferred_temporality
    ours = _temporality(preference)
    cumulative = type(next(iter(stock.values()))).CUMULATIVE
    kinds = {*stock, *ours}
    assert len(kinds) >= 6
    assert {kind: ours.get(kind, cumulative) for kind in kinds} == {
        kind: stock.get(kind, cumulative) for kind in kinds
    }


@pytest.fixture
def reader() -> tuple[MetricDelivery, Channel, dict[str, bool]]:
    """A reader, its channel, and whether the process is active."""
    made, state = channel("metrics"), {"active": False}
    return MetricDelivery(made, lambda _: True, lambda: state["active"]), made, state


def test_a_process_that_only_exists_stays_silent(
    reader: tuple[MetricDelivery, Channel, dict[str, bool]],
) -> None:
    delivery, made, state = reader
    provider = MeterProvider(metric_readers=[delivery], shutdown_on_exit=False)
    for scope in names.SCOPES_OF_THE_PROCESS:
        provider.get_meter(scope).create_counter("c").add(1)
    standard.observe(provider)
    delivery.collect()
    assert made.waiting == 0
    state["active"] = True
    delivery.collect()
    assert made.waiting == 1
    state["active"] = False
    delivery.collect()  # once it has reported it goes on, or its series would break off
    assert made.waiting == 2


def test_a_sample_is_not_delivered_and_takes_nothing_from_what_is(
    reader: tuple[MetricDelivery, Channel, dict[str, bool]],
) -> None:
    delivery, made, state = reader
    provider = MeterProvider(metric_readers=[delivery], shutdown_on_exit=False)
    state["active"] = True
    assert delivery.sample() is None
    counter = provider.get_meter("app").create_counter("c")
    counter.add(1)
    for total in (1, 2):
        found: Any = delivery.sample()
        (point,) = found.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
        assert point.value == total
        assert made.waiting == total - 1
        delivery.collect()
        assert made.waiting == total
        counter.add(1)


def test_a_collection_on_another_thread_is_delivered_while_one_asks(
    reader: tuple[MetricDelivery, Channel, dict[str, bool]],
) -> None:
    delivery, made, state = reader
    provider = MeterProvider(metric_readers=[delivery], shutdown_on_exit=False)
    state["active"] = True
    provider.get_meter("app").create_counter("c").add(1)
    delivery._asking.taken = []  # this thread is within sample()
    other = threading.Thread(target=delivery.collect)
    other.start()
    other.join()
    assert made.waiting == 1
    assert delivery._asking.taken == []


@pytest.mark.parametrize(
    ("options", "of_use"),
    [
        ({}, True),
        ({"temporality": "delta"}, False),
        ({"temporality": "lowmemory"}, False),
        ({"exponential": True}, False),
    ],
)
def test_who_may_look_without_taking(options: dict[str, Any], of_use: bool) -> None:
    assert MetricDelivery(channel("metrics"), lambda _: True, lambda: True, **options).cumulative is of_use
    assert MetricSampling().cumulative


def test_a_reader_that_only_samples() -> None:
    reader = MetricSampling()
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    provider.get_meter("app").create_counter("c").add(1)
    reader.collect()  # nobody asked
    assert reader.sample() is not None
    provider.shutdown()


def test_a_metric_of_the_application_s_own_ends_the_silence(
    reader: tuple[MetricDelivery, Channel, dict[str, bool]],
) -> None:
    delivery, made, _ = reader
    provider = MeterProvider(metric_readers=[delivery], shutdown_on_exit=False)
    delivery.collect()
    assert made.waiting == 0
    provider.get_meter("app").create_counter("c").add(1)
    delivery.collect()
    assert made.waiting == 1


def test_the_books_are_told_as_metrics(reader: tuple[MetricDelivery, Channel, dict[str, bool]]) -> None:
    delivery, made, state = reader
    state["active"] = True
    provider = MeterProvider(metric_readers=[delivery], shutdown_on_exit=False)
    traces = channel("traces")
    selfmetrics.observe(provider.get_meter(names.SCOPE_DELIVERY), (traces, made))
    for number in range(5):
        traces.offer(number)  # holds 3
    traces.drain(float("inf"))
    traces.account.drop(4, "503")
    traces.offer(9)  # waits: neither processed nor exported yet
    delivery.collect()
    (data,) = made._source._items
    points = {
        (
            metric.name,
            point.attributes.get(names.OTEL_COMPONENT_NAME),
            point.attributes.get(names.ERROR_TYPE),
        ): point.value
        for scope in data.resource_metrics[0].scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }
    name = "spanwise/traces"
    assert points[names.SDK_SPANS_PROCESSED.name, name, None] == 7
    assert points[names.SDK_SPANS_PROCESSED.name, name, "queue_full"] == 2
    assert points[names.SDK_SPANS_EXPORTED.name, name, None] == 3
    assert points[names.SDK_SPANS_EXPORTED.name, name, "503"] == 4
    assert (names.SDK_SPANS_EXPORTED.name, name, "queue_full") not in points  # never reached the exporter
    assert (names.SDK_SPANS_PROCESSED.name, name, "503") not in points
    assert points[names.DELIVERY_BYTES.name, name, None] == 3
    assert points[names.DELIVERY_RETRIES.name, name, None] == 0


def test_a_process_that_stands_by_reports_nothing_whatever_it_recorded(
    reader: tuple[MetricDelivery, Channel, dict[str, bool]],
) -> None:
    delivery, made, state = reader
    provider = MeterProvider([delivery], shutdown_on_exit=False)
    provider.get_meter("app").create_counter("c").add(1)
    state["active"] = delivery.standing_by = True
    delivery.collect()
    assert made.waiting == 0
    delivery.standing_by = False
    delivery.collect()
    assert made.waiting == 1
