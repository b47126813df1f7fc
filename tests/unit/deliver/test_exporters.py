"""Exporters that are not ours: found by name, told by address, ended in time."""

from __future__ import annotations

import threading
import time

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

from spanwise.deliver import exporters
from spanwise.errors import ConfigurationError
from spanwise.settings import Exporter


def test_otlp_over_http_is_ours_however_it_is_named() -> None:
    assert exporters.own_signal("otlp", Exporter())
    assert exporters.own_signal("otlp_proto_http", Exporter(protocol="grpc"))
    assert not exporters.own_signal("otlp", Exporter(protocol="grpc"))
    assert not exporters.own_signal("console", Exporter())


def test_others_come_by_their_entry_point() -> None:
    assert isinstance(exporters.make("metrics", "console", Exporter()), ConsoleMetricExporter)
    made = exporters.make("traces", "otlp", Exporter(protocol="grpc", endpoint="http://there:1"))
    assert isinstance(made, OTLPSpanExporter)
    assert made._endpoint == "there:1"
    made.shutdown()


def test_one_that_is_not_installed_names_those_that_are() -> None:
    with pytest.raises(ConfigurationError) as raised:
        exporters.make("logs", "zipkin", Exporter())
    assert "no logs exporter 'zipkin' is installed (OTEL_LOGS_EXPORTER)" in str(raised.value)
    assert "console" in str(raised.value)


def test_one_that_cannot_be_made_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name = "broken"

        def load(self) -> object:
            raise ImportError("no such part")

    monkeypatch.setattr(exporters, "entry_points", lambda group: [Entry()])
    with pytest.raises(ConfigurationError, match="'broken' cannot be made: no such part"):
        exporters.make("traces", "broken", Exporter())


@pytest.mark.parametrize(
    ("name", "exporter", "address"),
    [
        ("otlp", Exporter(protocol="grpc"), "http://localhost:4317 (gRPC)"),
        ("otlp_proto_grpc", Exporter(endpoint="http://there:1"), "http://there:1 (gRPC)"),
        ("console", Exporter(), "exporter console"),
    ],
)
def test_the_address_is_where_it_goes(name: str, exporter: Exporter, address: str) -> None:
    assert exporters.address(name, exporter) == address


def test_one_that_does_not_end_cannot_hold_the_process(caplog: pytest.LogCaptureFixture) -> None:
    """It never ends: that this test does is the time-out's doing."""
    called, first, never = [], threading.Event(), threading.Event()
    exporters.close([first.set, never.wait, lambda: called.append(2)], time.monotonic())
    assert first.wait(60)
    assert called == []
    assert "had not ended in time" in caplog.text
    never.set()


def test_one_that_fails_does_not_keep_the_others_from_ending(caplog: pytest.LogCaptureFixture) -> None:
    called = []

    def fail() -> None:
        raise RuntimeError("planted")

    exporters.close([fail, lambda: called.append(1)], time.monotonic() + 60)
    assert called == [1]
    assert "planted" in caplog.text
