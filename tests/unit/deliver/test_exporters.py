"""Exporters that are not ours: found by name, told by address, ended in time."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

from spanwise.deliver import exporters
from spanwise.deliver.destinations import destination
from spanwise.errors import ConfigurationError
from spanwise.settings import Exporter, Settings


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("endpoint", ["ftp://host", "http://", "http://host:port", "http://host:0"])
def test_what_is_no_endpoint_is_told(endpoint: str, protocol: str) -> None:
    with pytest.raises(ConfigurationError, match="is no endpoint"):
        destination(Exporter(endpoint=endpoint, protocol=protocol), "traces")


def test_otlp_over_http_is_ours_however_it_is_named() -> None:
    assert exporters.own_signal("otlp", Exporter())
    assert exporters.own_signal("otlp_proto_http", Exporter(protocol="grpc"))
    assert exporters.own_signal("otlp", Exporter(protocol="grpc"))
    assert not exporters.own_signal("console", Exporter())


@pytest.mark.parametrize(
    ("exporter", "variable", "own"),
    [
        (Exporter(protocol="grpc", endpoint="there:4317"), "", True),
        (Exporter(protocol="grpc", endpoint="unix:///tmp/collector.sock"), "", False),
        (Exporter(protocol="grpc", endpoint="DNS:///there"), "", False),
        (Exporter(protocol="grpc"), "OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER", False),
        (Exporter(protocol="grpc"), "OTEL_PYTHON_EXPORTER_OTLP_GRPC_LOGS_CREDENTIAL_PROVIDER", False),
        (Exporter(), "OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER", True),
    ],
)
def test_what_only_grpc_itself_can_do_is_the_stock_exporter_s(
    exporter: Exporter, variable: str, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv(variable, "somebody_s")
    assert exporters.own_signal("otlp", exporter) is own


def test_a_name_says_the_protocol_and_one_that_is_not_installed_leaves_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = exporters.resolved(
        Settings(
            traces_exporter=("otlp_proto_grpc", "console"),
            metrics_exporter=("otlpp",),
            logs_exporter=("OTLP", "nobody_s"),
            logs=Exporter(protocol="grpc"),
        )
    )
    assert (found.traces_exporter, found.traces.protocol) == (("otlp_proto_grpc", "console"), "grpc")
    assert (found.metrics_exporter, found.metrics.protocol) == (("otlp",), "http/protobuf")
    assert (found.logs_exporter, found.logs.protocol) == (("otlp",), "grpc")
    assert "'otlpp' is installed (OTEL_METRICS_EXPORTER). Did you mean otlp? otlp is used" in caplog.text
    assert "'nobody_s' is installed (OTEL_LOGS_EXPORTER)" in caplog.text
    assert exporters.resolved(Settings(logs_exporter=("none",))).logs_exporter == ("none",)


@pytest.mark.parametrize(
    ("exporter", "url"),
    [
        (Exporter(), "http://localhost:4318/v1/traces"),
        (Exporter(endpoint="http://there:4317/"), "http://there:4318/v1/traces"),
        (Exporter(endpoint="there:4317"), "https://there:4318/v1/traces"),
        (Exporter(endpoint="http://there:9", endpoint_is_whole=True), "http://there:9/v1/traces"),
    ],
)
def test_without_grpcio_the_same_place_is_asked_over_http(
    exporter: Exporter, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(exporters, "find_spec", lambda _: None)
    asked = replace(exporter, protocol="grpc")
    found = exporters.resolved(Settings(traces=asked, logs=asked, metrics=Exporter()))
    assert destination(found.traces, "traces").url == url
    assert found.metrics == Exporter()
    (told,) = caplog.messages
    assert "traces, logs" in told
    assert "pip install opentelemetry-exporter-otlp-proto-grpc" in told


def test_stock_exporters_get_what_was_given_in_code(tmp_path: Path) -> None:
    certificate = tmp_path / "ca.pem"
    certificate.write_text("x")
    over_grpc = Exporter(
        protocol="grpc", endpoint="http://there:1", timeout=1200, compression="gzip", headers=(("a", "1"),)
    )
    made = exporters.make("traces", "otlp", over_grpc)
    assert (made._timeout, made._compression, made._insecure) == (1.2, grpc.Compression.Gzip, True)
    assert made._headers == (("a", "1"),)
    made.shutdown()
    over_tls = replace(over_grpc, endpoint="https://there:1", certificate=str(certificate))
    made = exporters.make("metrics", "otlp", over_tls)
    assert not made._insecure
    made.shutdown()
    over_http = Exporter(
        endpoint="http://there:1", timeout=1200, compression="gzip", certificate=str(certificate)
    )
    assert exporters._arguments("otlp_proto_http", "logs", over_http) == {
        "endpoint": "http://there:1/v1/logs",
        "headers": None,
        "timeout": 1.2,
        "compression": Compression.Gzip,
        "certificate_file": str(certificate),
        "client_certificate_file": None,
        "client_key_file": None,
    }
    exporters.make("logs", "otlp_proto_http", replace(over_http, certificate=None)).shutdown()


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
