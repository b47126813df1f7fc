"""What the tests of calls that make no span share: a process's delivery up to the request, and a clock."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace as api
from opentelemetry.context import Context, attach, detach
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import SpanKind

from spanwise.deliver.account import Account
from spanwise.deliver.channel import Channel
from spanwise.deliver.signals import SpanDelivery
from spanwise.deliver.span_segment import SpanSegment
from spanwise.instrumentors import _call, _calls
from spanwise.instrumentors._calls import Calls
from spanwise.meters.provider import MeterProvider
from spanwise.spans.provider import TracerProvider
from spanwise.spans.tracer import Tracer

_numbers = itertools.count()


class Starts(SpanProcessor):
    """Cares for a span's start: with it, every call is a span from its beginning on."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        self.names.append(span.name)


class Pipe:
    """The delivery of a process, up to the request.

    Args:
        folder: where its spans wait.
        classic: whether a processor cares for the start of spans.
        sampler: of its spans; all of them by default.
    """

    def __init__(self, folder: Path, *, classic: bool = False, sampler: Any = None) -> None:
        label = f"t{next(_numbers)}"
        self.source = SpanSegment(Account("traces"), capacity=5000, batch=1000, folder=folder, label=label)
        sender: Any = None
        channel = Channel(self.source, sender, address="-", delay=1.0)
        self.delivery = SpanDelivery(channel, lambda _: True)
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.starts = Starts()
        if classic:
            self.provider.add_span_processor(self.starts)
        self.provider.add_span_processor(self.delivery)
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        duration = self.meters.get_meter("m").create_histogram("d", "s")
        self.calls = Calls("thing", self.provider.get_tracer("t"), duration)

    @contextmanager
    def request(self, **more: object) -> Iterator[Any]:
        """Within a server's span, which arrives too; ``more`` is in the context, by key."""
        span = self.provider.get_tracer("app").start_span("request", kind=SpanKind.SERVER)
        token = attach(Context({**api.set_span_in_context(span), **more}))
        try:
            yield span
        finally:
            detach(token)
            span.end()

    def spans(self) -> list[Message]:
        """Those that arrived since the last time, but for the requests'."""
        return [span for span in self.arrived() if span.name != "request"]

    def arrived(self) -> list[Message]:
        """All that did."""
        found: list[Message] = []
        while (load := self.source.load(partial=True)) is not None:
            request = ExportTraceServiceRequest.FromString(b"".join(load.body))
            self.source.release(load)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    found += scope.spans
        return found

    def points(self, wanted: str = "") -> list[Any]:
        """Those of all metrics, or of one."""
        data: Any = self.reader.get_metrics_data()
        if data is None:
            return []
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
            if wanted in ("", metric.name)
        ]


class Clock:
    """Time passes where something is done, and nowhere else: durations are exact."""

    START = 1_700_000_000_000_000_000

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *modules: Any) -> None:
        self.passed = 0
        for module in (_call, *modules):
            monkeypatch.setattr(module, "perf_counter_ns", lambda: self.passed)
        monkeypatch.setattr(_calls, "time_ns", lambda: self.START + self.passed)

    def work(self, nanoseconds: int) -> None:
        self.passed += nanoseconds


def objects_made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the spans that are made as objects from now on."""
    found: list[str] = []
    original = Tracer.start_span

    def start_span(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        found.append(name)
        return original(self, name, *args, **kwargs)

    monkeypatch.setattr(Tracer, "start_span", start_span)
    return found


def of_child(pipe: Pipe, work: Callable[[], object]) -> list[Message]:
    """What arrives of a forked child's work."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            pipe.source.reset()
            pipe.source.account.reset()
            work()
            os.write(writes, ScopeSpans(spans=pipe.spans()).SerializeToString())
            status = 0
        finally:
            os._exit(status)
    os.close(writes)
    with os.fdopen(reads, "rb") as file:
        found = ScopeSpans.FromString(file.read())
    assert os.waitpid(child, 0)[1] == 0
    return list(found.spans)


def at_once(threads: int, work: Callable[[int], object]) -> None:
    """Calls with each number in a thread of its own, which meet as often as can be."""
    failed: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failed.append(error)

    running = [threading.Thread(target=guarded, args=(number,)) for number in range(threads)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failed == []


def told(message: Message, request: Any) -> str:
    """All that a span says, with the request's ids by name and without what is drawn at random."""
    copy = Message()
    copy.CopyFrom(message)
    of = request.get_span_context()
    assert len(message.span_id) == 8
    assert message.end_time_unix_nano >= message.start_time_unix_nano > 0
    if message.trace_id == of.trace_id.to_bytes(16, "big"):
        copy.trace_id = b"the request's"
    if message.parent_span_id == of.span_id.to_bytes(8, "big"):
        copy.parent_span_id = b"the request"
    copy.ClearField("span_id")
    for each in copy.events:  # by the clock of the SDK
        assert each.time_unix_nano > 0
        each.ClearField("time_unix_nano")
    attributes = sorted(copy.attributes, key=lambda each: each.key)
    del copy.attributes[:]
    copy.attributes.extend(attributes)
    return str(copy)


def measured(points: list[Any], request: Any) -> list[tuple[Any, ...]]:
    """Durations by attributes, and whether their exemplars name the request."""
    return sorted(
        (
            sorted(point.attributes.items()),
            point.count,
            point.sum,
            {each.span_id == request.get_span_context().span_id for each in point.exemplars},
        )
        for point in points
    )
