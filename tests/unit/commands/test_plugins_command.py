"""`spanwise plugins`: what a console has of plugins, asked over HTTP or read from its file."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from spanwise import names
from spanwise.commands.plugins import plugins
from spanwise.console.server import RunningConsole, start
from spanwise.errors import SpanwiseError

TOKEN = "unit-test-token-0123456789"
MS = 1_000_000


def span(number: int, milliseconds: int, failed: bool = False, **attributes: Any) -> dict[str, Any]:
    kinds = {str: "stringValue", float: "doubleValue", int: "intValue"}
    found = {
        getattr(names, key): {kinds[type(value)]: str(value) if type(value) is int else value}
        for key, value in attributes.items()
    }
    return {
        "traceId": f"{1:032x}",
        "spanId": f"{number:016x}",
        "name": "price",
        "startTimeUnixNano": str(10**18),
        "endTimeUnixNano": str(10**18 + milliseconds * MS),
        "status": {"code": 2} if failed else {},
        "attributes": [{"key": key, "value": value} for key, value in found.items()],
    }


PRICING = {"PLUGIN_PROJECT": "store", "PLUGIN_NAME": "[b]pricing"}
SPANS = [
    span(1, 30, **PRICING, PLUGIN_HOOK="price"),
    span(2, 10, failed=True, **PRICING, PLUGIN_HOOK="price"),
    span(3, 1_500, **PRICING, PLUGIN_LOAD_MEMORY=52_400_000),
    span(4, 900, PLUGIN_PROJECT="store", PLUGIN_NAME="wrapper", PLUGIN_HOOK="price", PLUGIN_OWN_TIME=0.002),
    span(5, 900, PLUGIN_PROJECT="store", PLUGIN_HOOK="price"),  # the hook call, no plugin's
    span(6, 1),
]


def send(console: RunningConsole, *spans: dict[str, Any]) -> None:
    resource = {"attributes": [{"key": names.SERVICE_NAME, "value": {"stringValue": "shop"}}]}
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}
    request = urllib.request.Request(
        f"{console.otlp_endpoint}/v1/traces", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200


@pytest.fixture
def console(tmp_path: Path) -> Iterator[RunningConsole]:
    with start(tmp_path / "console.duckdb", port=0, token=TOKEN) as running:
        yield running


def printed(*arguments: str, columns: int = 200) -> str:
    runner = CliRunner(env={"COLUMNS": str(columns)})
    return runner.invoke(plugins, arguments, catch_exceptions=False).output


def told(*arguments: str) -> list[list[str]]:
    """The table's cells, row by row."""
    output = printed(*arguments)
    rows = [line.strip("│").split("│") for line in output.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in row] for row in rows] or [[output]]


EXPECTED = [
    ["shop", "store", "[b]pricing", "2", "1", "20 ms", "30 ms", "1.50 s", "52.4 MB"],
    ["shop", "store", "wrapper", "1", "0", "2 ms", "2 ms", "–", "–"],
]


def test_it_asks_a_running_console_and_reads_the_file_of_one_that_ended(
    console: RunningConsole, tmp_path: Path
) -> None:
    assert "No plugin has been seen" in told("--console", console.url)[0][0]
    send(console, *SPANS)
    assert told("--console", console.url) == EXPECTED
    console.stop()
    assert told("--database", str(tmp_path / "console.duckdb")) == EXPECTED


def test_what_cannot_be_asked_says_what_to_do(console: RunningConsole) -> None:
    with pytest.raises(SpanwiseError, match="token"):
        told("--console", console.otlp_endpoint)
    with pytest.raises(SpanwiseError, match="no console's address"):
        told("--console", "localhost:4318")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SpanwiseError, match=f"no console answers.*:{port}.*spanwise console"):
        told("--console", f"http://127.0.0.1:{port}/")


def test_figures_that_are_none_and_hostile_names_do_no_harm(console: RunningConsole) -> None:
    send(
        console,
        span(1, 1, PLUGIN_NAME="nan", PLUGIN_HOOK="x", PLUGIN_OWN_TIME=1e308),
        span(2, 1, PLUGIN_NAME="text", PLUGIN_LOAD_MEMORY="much"),
        span(3, 1, PLUGIN_NAME="'; drop table spans; --", PLUGIN_HOOK="x"),
    )
    found = {row[2]: row for row in told("--console", console.url)}
    assert found["text"][8] == "–"
    assert found["nan"][5] == "–"
    assert found["'; drop table spans; --"][3] == "1"


LINE: dict[str, Any] = {
    **dict.fromkeys(("service", "project", "plugin"), "x"),
    **dict.fromkeys(("calls", "errors"), 1),
    **dict.fromkeys(("mean_ms", "max_ms", "load_ms", "memory_bytes"), 1.5),
}


def answering(monkeypatch: pytest.MonkeyPatch, body: object) -> None:
    class Connection:
        status = 200

        def __init__(self, *_: Any, **__: Any) -> None: ...

        def request(self, *_: Any, **__: Any) -> None: ...

        def close(self) -> None: ...

        def getresponse(self) -> Any:
            return self

        def read(self) -> bytes:
            return json.dumps(body).encode()

    monkeypatch.setattr("http.client.HTTPConnection", Connection)


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"plugins": {}},
        {"plugins": [7]},
        {"plugins": [{}]},
        *({"plugins": [LINE, {key: value for key, value in LINE.items() if key != gone}]} for gone in LINE),
        *({"plugins": [{**LINE, changed: []}]} for changed in LINE),
    ],
)
def test_an_answer_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch, body: object) -> None:
    answering(monkeypatch, body)
    with pytest.raises(SpanwiseError, match="no console of this version: it answered 200, and not with"):
        told("--console", "http://127.0.0.1:9")


@pytest.mark.parametrize("columns", [20, 40, 80, 120])
@pytest.mark.parametrize("services", [("x", "x"), ("front", "back")])
def test_no_name_and_no_figure_is_cut_in_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, columns: int, services: tuple[str, str]
) -> None:
    long = ["recommendations", "acme_recommendations_for_customers_who_came_back_after_a_while"]
    lines = [
        {**LINE, "plugin": plugin, "service": service, "calls": 123_456_789, "max_ms": 999.9}
        for plugin, service in zip(long, services, strict=True)
    ]
    for shown in (lines, lines[:1]):
        answering(monkeypatch, {"plugins": shown})
        output = printed("--console", "http://127.0.0.1:9", columns=columns)
        for line in shown:
            assert line["plugin"] in output
            assert line["service"] in output
        assert output.count("123456789") == output.count("1000 ms") == len(shown)
    # The case it was made for: one service, its plugins under one another, in the width of old.
    if columns == 80:
        assert output.splitlines()[0] == f"service {services[0]}"
        assert output.splitlines()[2].split()[0] == "plugin"


def test_names_do_not_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, {"plugins": [{**LINE, "plugin": "a\x1b]0;owned\x07b\x9bc\nd"}]})
    ((_, _, name, *_),) = told("--console", "http://127.0.0.1:9")
    assert name == r"a\x1b]0;owned\x07b\x9bc\nd"


def test_a_file_that_is_no_consoles_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "sales.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("create table sales(amount int)")
    with pytest.raises(SpanwiseError, match="is not the console's"):
        told("--database", str(file))
    with duckdb.connect(str(file)) as connection:
        assert connection.execute("show tables").fetchall() == [("sales",)]
