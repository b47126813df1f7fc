"""Each handler by itself, against a real receiver."""

from __future__ import annotations

import json
import logging
import math
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from spanwise import names
from spanwise.alerts.handlers import event, log, pagerduty, slack, webhook
from spanwise.alerts.handlers.file import JsonLines
from spanwise.alerts.handlers.post import post
from spanwise.alerts.handlers.table import HANDLERS
from spanwise.alerts.notification import Notification, Series
from spanwise.alerts.outbox import TryAgain
from spanwise.rules.alerting import Handler
from spanwise.thresholds.load import read

Make = Callable[..., Notification]


class Receiver:
    """A web server that keeps what it is told, and answers as it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any, dict[str, str]]] = []
        self.status = 200
        self.location = ""
        mine = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                mine.told.append((self.path, json.loads(body), dict(self.headers)))
                self.send_response(mine.status)
                if mine.location:
                    self.send_header("Location", mine.location)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_every_handler_of_the_file_is_told_by_the_process() -> None:
    handlers = "{a: {webhook: 'http://a/'}, b: {slack: 'http://a/'}, c: {pagerduty: k}, d: {file: a.jsonl}"
    rules = read(f"version: 1\nalerts: {{handlers: {handlers}, log: , event: }}}}").rules
    (alerting,) = (rule for rule in rules if hasattr(rule, "throttle"))
    types = {handler.type for handler in alerting.handlers}  # type: ignore[union-attr]
    assert types == set(HANDLERS)
    assert all(callable(HANDLERS[each.type](each)) for each in alerting.handlers)  # type: ignore[union-attr]


# -- webhook, Slack, PagerDuty --------------------------------------------------------------------


def test_a_webhook_is_told_all(receiver: Receiver, notification: Make) -> None:
    webhook.webhook(Handler("ops", "webhook", f"{receiver.url}/alerts?to=ops"))(notification())
    ((path, body, headers),) = receiver.told
    assert path == "/alerts?to=ops"
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert body == {
        "version": 1,
        "summary": "memory is above 800 MB in shop: it is 812.5 MB",
        "name": "memory",
        "severity": "critical",
        "status": "firing",
        "metric": "process.memory.usage",
        "unit": "By",
        "limit": 800e6,
        "value": 812.5e6,
        "since": 1_700_000_000.0,
        "time": 1_700_000_060.0,
        "series": [{"attributes": {"k": "a"}, "value": 812.5e6}],
        "service": "shop",
        "host": "web-1",
        "pid": 7,
        "form": "level",
        "ended": [],
    }


@pytest.mark.parametrize(
    ("form", "metric", "unit", "text"),
    [
        ("level", "app.queue", "1", "is above 0.5 in shop: it is 10"),
        ("increase", "app.ratio", "1", "is above 0.5 in shop: it is 10"),
        ("level", "system.memory.utilization", "1", "is above 50 % in shop: it is 1000 %"),
        ("quantile", "stream.buffer.ratio", "1", "is above 50 % in shop: it is 1000 %"),
        ("ratio", "app.queue", "1", "is above 50 % in shop: it is 1000 %"),
        ("level", "app.age", "s", "is above 0.5 s in shop: it is 10 s"),
        ("level", "app.queue", "{item}", "is above 0.5 in shop: it is 10"),
    ],
)
def test_only_a_share_is_told_in_percent(
    notification: Make, form: str, metric: str, unit: str, text: str
) -> None:
    told = notification(name="it", form=form, metric=metric, unit=unit, limit=0.5, value=10.0)
    assert told.summary == f"it {text}"


def test_an_infinite_ratio_is_null_in_json(receiver: Receiver, notification: Make) -> None:
    infinite = (Series({}, math.inf),)
    told = notification(value=math.inf, unit="1", series=infinite, ended=infinite)
    webhook.webhook(Handler("ops", "webhook", receiver.url))(told)
    ((_, body, _),) = receiver.told
    assert (body["value"], body["series"]) == (None, [{"attributes": {}, "value": None}])
    assert body["ended"] == body["series"]


def test_slack_gets_a_text_in_which_nothing_is_markup(receiver: Receiver, notification: Make) -> None:
    told = notification(name="<!channel> & co", series=(Series({"k": "<a>"}, 812.5e6), Series({}, 1.0)))
    slack.slack(Handler("chat", "slack", f"{receiver.url}/services/T/B/x"))(told)
    ((_, body, _),) = receiver.told
    assert body == {
        "text": "*critical: &lt;!channel&gt; &amp; co firing*\n"
        "&lt;!channel&gt; &amp; co is above 800 MB in shop: it is 812.5 MB\n"
        "k=&lt;a&gt;: 812.5 MB"
    }


def test_pagerduty_gets_an_incident_and_its_end(receiver: Receiver, notification: Make) -> None:
    tell = pagerduty.pagerduty(Handler("duty", "pagerduty", "key1"), f"{receiver.url}/v2/enqueue")
    tell(notification())
    tell(notification(status="resolved", pid=8))
    tell(notification(severity="warning"))
    (_, first, _), (_, last, _), (_, other, _) = receiver.told
    assert (first["routing_key"], first["event_action"], last["event_action"]) == (
        "key1",
        "trigger",
        "resolve",
    )
    assert first["dedup_key"] == last["dedup_key"] != other["dedup_key"]
    assert len(first["dedup_key"]) <= 255
    payload = first["payload"]
    assert (payload["severity"], payload["source"], payload["component"]) == ("critical", "web-1", "shop")
    assert datetime.fromisoformat(payload["timestamp"]).timestamp() == 1_700_000_060.0
    assert payload["custom_details"]["series"] == [{"attributes": {"k": "a"}, "value": 812.5e6}]


def test_a_secret_comes_from_its_file_each_time(
    receiver: Receiver, notification: Make, tmp_path: Path
) -> None:
    secret = tmp_path / "address"
    tell = webhook.webhook(Handler("ops", "webhook", file=str(secret)))
    with pytest.raises(TryAgain, match=r"its address cannot be read from .*address: FileNotFoundError"):
        tell(notification())
    for path in ("/one", "/two"):
        secret.write_text(f"{receiver.url}{path}\n")
        tell(notification())
    assert [path for path, _, _ in receiver.told] == ["/one", "/two"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_what_may_work_later_is_tried_again(receiver: Receiver, status: int) -> None:
    receiver.status = status
    with pytest.raises(TryAgain, match=f"the answer was {status}"):
        post(receiver.url, {})


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 410])
def test_what_never_will_is_not_and_no_redirect_is_followed(receiver: Receiver, status: int) -> None:
    receiver.status, receiver.location = status, f"{receiver.url}/elsewhere"
    with pytest.raises(ValueError, match=f"the answer was {status}"):
        post(receiver.url, {})
    assert len(receiver.told) == 1


def test_nobody_there_is_tried_again_and_no_error_shows_the_address(receiver: Receiver) -> None:
    receiver.server.shutdown()
    receiver.server.server_close()
    with pytest.raises(TryAgain) as caught:
        post(f"{receiver.url}/services/T/B/secret", {})
    assert str(caught.value) == "no answer (ConnectionRefusedError)"
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "url",
    ["", "secret", "ftp://secret/", "file:///secret", "http://", "http://h:99999/secret", "http://h/a b"],
)
def test_what_is_no_address_is_told_without_it(url: str) -> None:
    with pytest.raises(ValueError, match="its address is no URL") as caught:
        post(url, {})
    assert "secret" not in str(caught.value)


# -- log and event --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("severity", "status", "level"),
    [
        ("critical", "firing", "ERROR"),
        ("warning", "firing", "WARNING"),
        ("info", "firing", "INFO"),
        ("critical", "resolved", "INFO"),
    ],
)
def test_the_log_has_a_line(
    notification: Make, caplog: pytest.LogCaptureFixture, severity: str, status: str, level: str
) -> None:
    with caplog.at_level(logging.INFO, "spanwise.alerts"):
        log.write(notification(severity=severity, status=status))
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("spanwise.alerts", level)
    said = "above 800 MB in shop: it is 812.5 MB" if status == "firing" else "no longer above 800 MB in shop"
    assert said in record.getMessage()


def test_an_event_goes_where_logs_go(notification: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(event, "get_logger", provider.get_logger)
    event.emit(notification())
    event.emit(notification(status="resolved"))
    first, last = (each.log_record for each in exporter.get_finished_logs())
    assert first.event_name == names.EVENT_ALERT
    assert first.severity_number is SeverityNumber.ERROR
    assert last.severity_number is SeverityNumber.INFO
    assert first.timestamp == 1_700_000_060_000_000_000
    assert dict(first.attributes or {}) == {
        names.ALERT_NAME: "memory",
        names.ALERT_SEVERITY: "critical",
        names.ALERT_STATUS: "firing",
        names.ALERT_METRIC: "process.memory.usage",
        names.ALERT_VALUE: 812.5e6,
        names.ALERT_LIMIT: 800e6,
    }


# -- file -----------------------------------------------------------------------------------------


def lines(path: Path) -> list[int]:
    return [json.loads(line)["pid"] for line in path.read_text("utf-8").splitlines()]


def test_the_file_is_turned_over_and_the_oldest_goes(notification: Make, tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    size = len(json.dumps(notification().as_dict())) + 1
    write = JsonLines(str(path), size=2 * size, files=3)
    for number in range(9):
        write(notification(pid=number))
    assert lines(path) == [8]
    assert lines(tmp_path / "alerts.jsonl.1") == [6, 7]
    assert lines(tmp_path / "alerts.jsonl.2") == [4, 5]
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        *("alerts.jsonl", "alerts.jsonl.1", "alerts.jsonl.2", "alerts.jsonl.lock")
    ]
    assert path.stat().st_mode & 0o777 == 0o600
    assert "memory is above 800 MB" in json.loads(path.read_text("utf-8"))["summary"]


def test_one_file_alone_begins_anew(notification: Make, tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    write = JsonLines(str(path), size=1, files=1)
    for number in range(3):
        write(notification(pid=number, value=math.inf))
    assert lines(path) == [2]


def _write_many(path: str, made: Notification, pid: int) -> None:
    from dataclasses import replace

    write = JsonLines(path, size=5_000, files=100)
    for _ in range(100):
        write(replace(made, pid=pid))


def test_several_processes_lose_no_line(notification: Make, tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [
        context.Process(target=_write_many, args=(str(path), notification(), number)) for number in range(3)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    files = [each for each in tmp_path.iterdir() if not each.name.endswith(".lock")]
    written = [pid for each in files for pid in lines(each)]
    assert [written.count(number) for number in range(3)] == [100, 100, 100]
    assert all(each.stat().st_size <= 5_000 for each in files)


def test_a_path_that_cannot_be_written_is_an_error(notification: Make, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        JsonLines(str(tmp_path / "none" / "alerts.jsonl"))(notification())
