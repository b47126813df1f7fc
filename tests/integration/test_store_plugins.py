"""The example store's plugins and its circuit breaker, in the telemetry of a real run of it."""

from __future__ import annotations

import contextlib
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from otlp_sink import Record, Sink, otlp_sink
from servers import ROOT, stop, store_app

from spanwise import names
from spanwise.commands.plugins import plugins
from spanwise.console.server import NO_TOKEN, start

TRIPPING = (3, 13, 23)  # the tracks whose lyrics fail; three failures open the breaker


def ask(address: str, path: str, body: Any = None) -> int:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@contextlib.contextmanager
def store(tmp: Path, endpoint: str) -> Iterator[str]:
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_SERVICE_NAME": "store",
        "OTEL_LOGS_EXPORTER": "none",
        "PYTHONPATH": str(ROOT / "src"),
        "STORE_TRACKS": "200",
        "STORE_BREAKER_RESET": "3600",
    }
    with store_app(tmp, env, (sys.executable, "-m", "spanwise", "run")) as (address, process):
        yield address
        stop(process)


def use(address: str) -> None:
    assert ask(address, "/checkout", {"customer_id": 5, "track_ids": [1, 2]}) == 201
    assert ask(address, "/recommendations/5") == 200
    for track in (*TRIPPING, 1):
        assert ask(address, f"/lyrics/{track}") == 503


@pytest.fixture(scope="module")
def sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sink]:
    with otlp_sink() as sink:
        with store(tmp_path_factory.mktemp("store"), sink.http_endpoint) as address:
            use(address)
        yield sink


def named(sink: Sink, name: str) -> list[Record]:
    return [span for span in sink.spans() if span["name"] == name]


@pytest.mark.real
def test_plugins_show_up_as_spans(sink: Sink) -> None:
    assert len(named(sink, "store_price")) == 2
    by_id = {span["span_id"]: span for span in sink.spans()}
    for call in named(sink, "store_price pricing"):
        hook = by_id[call["parent_span_id"]]
        assert hook["name"] == "store_price"
        assert by_id[hook["parent_span_id"]]["name"] == "POST /checkout"
    (call,) = named(sink, "store_recommend recommendations")
    # What the plugin asks of the database is its own.
    assert [span for span in sink.spans() if span["parent_span_id"] == call["span_id"]]
    for plugin in ("pricing", "recommendations"):
        (load,) = named(sink, f"plugin.load {plugin}")
        assert load["attributes"][names.OPERATION_KIND] == "plugin.load"
    assert named(sink, "store_setup pricing")


@pytest.mark.real
def test_the_trip_is_an_event_and_the_breaker_a_metric(sink: Sink) -> None:
    tripped = [span for span in sink.spans() if "circuit_breaker.tripped" in span["events"]]
    assert [span["name"] for span in tripped] == ["GET /lyrics/<int:track_id>"]
    latest = {metric["name"]: metric for metric in sink.metrics()}
    (trip,) = latest[names.CIRCUIT_TRIPS.name]["points"]
    assert trip["value"] == 1
    assert trip["attributes"] == {names.CIRCUIT_NAME: "lyrics"}
    (reason,) = latest[names.CIRCUIT_TRIPS_BY_REASON.name]["points"]
    assert reason["attributes"][names.CIRCUIT_REASON] == "failures"
    states = {
        point["attributes"][names.CIRCUIT_STATE]: point["value"]
        for point in latest[names.CIRCUIT_STATUS.name]["points"]
    }
    assert states == {"closed": 0, "half_open": 0, "open": 1}
    outcomes = {
        point["attributes"][names.CIRCUIT_OUTCOME]: point["value"]
        for point in latest[names.CIRCUIT_CALLS.name]["points"]
    }
    assert outcomes == {"failure": 3, "rejected": 1}
    assert latest[names.CIRCUIT_OPEN_TIME.name]["points"][0]["value"] > 0
    assert latest[names.CIRCUIT_BACKOFF.name]["points"][0]["value"] == 3600


@pytest.mark.real
def test_the_report_shows_them(tmp_path: Path) -> None:
    with start(tmp_path / "console.duckdb", port=0, token=NO_TOKEN) as console:
        with store(tmp_path, console.otlp_endpoint) as address:
            use(address)
        output = CliRunner(env={"COLUMNS": "200"}).invoke(plugins, ["--console", console.url]).output
    rows = [[cell.strip() for cell in line.split("│")] for line in output.splitlines()]
    found = {row[3]: row for row in rows if len(row) > 8}
    assert found["pricing"][2:6] == ["store", "pricing", "3", "0"]  # its set-up and two prices
    assert found["recommendations"][2:6] == ["store", "recommendations", "1", "0"]
