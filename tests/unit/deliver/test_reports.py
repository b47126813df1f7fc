"""What is logged of destinations that are away: one line for all signals that fail for one reason."""

from __future__ import annotations

import pytest

from spanwise.deliver.reports import Outages, Reports, server_of


def reports(*whats: str, address: str = "http://there:4318/v1/x") -> list[Reports]:
    outages = Outages()
    return [Reports(what, address, outages) for what in whats]


def test_one_line_tells_of_all_signals_that_one_server_does_not_take(
    caplog: pytest.LogCaptureFixture,
) -> None:
    spans, logs, metrics = reports("spans", "log records", "metric collections")
    for _ in range(3):
        for each in (spans, logs, metrics):
            each.away("ConnectionRefusedError")
    (message,) = caplog.messages
    assert "spans cannot be delivered to http://there:4318 (ConnectionRefusedError)" in message
    assert "spanwise console" not in message
    for each in (metrics, logs, spans, spans):
        each.delivered()
    assert caplog.messages[1:] == ["spans are delivered to http://there:4318 again"]
    logs.away("ConnectionRefusedError")
    assert "log records cannot be delivered" in caplog.messages[-1]


def test_another_reason_and_a_signal_that_stays_away_are_told(caplog: pytest.LogCaptureFixture) -> None:
    spans, logs = reports("spans", "log records")
    spans.away("ConnectionRefusedError")
    logs.away("503")
    assert "log records cannot be delivered to http://there:4318 (503)" in caplog.messages[1]
    logs.delivered()
    logs.away("ConnectionRefusedError")
    caplog.clear()
    spans.delivered()
    logs.away("ConnectionRefusedError")
    logs.away("ConnectionRefusedError")
    assert [message.partition(" to ")[0] for message in caplog.messages] == [
        "spans are delivered",
        "log records cannot be delivered",
    ]


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("http://localhost:4318/v1/traces", "run: spanwise console"),
        ("http://127.0.0.1:9999/v1/traces", "run: spanwise console --port 9999"),
        ("http://[::1]:4318/", "run: spanwise console"),
    ],
)
def test_on_this_machine_there_is_something_to_receive_it(
    address: str, hint: str, caplog: pytest.LogCaptureFixture
) -> None:
    (spans,) = reports("spans", address=address)
    spans.away("ConnectionRefusedError")
    assert caplog.messages[0].endswith(hint)
    over_grpc = Reports("spans", address, Outages(), "grpc")
    over_grpc.away("UNAVAILABLE")
    assert caplog.messages[1].endswith("OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, since it takes no gRPC")


def test_no_message_holds_what_is_secret_in_an_address(caplog: pytest.LogCaptureFixture) -> None:
    (spans,) = reports("spans", address="http://user:s3cret@there:1/v1/traces?key=s3cret")
    assert server_of("http://user:s3cret@there:1/v1/traces?key=s3cret") == "http://there:1"
    spans.away("503")
    spans.delivered()
    spans.gave_up(1, 2, "500")
    spans.refused(1, "403")
    spans.rejected(1, 2, "-")
    assert len(caplog.messages) == 5
    assert "s3cret" not in caplog.text


def test_a_child_tells_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    spans, logs = reports("spans", "log records")
    spans.away("503")
    for each in (spans, logs):
        each.reset()  # as at a fork
    logs.away("503")
    assert "log records cannot be delivered" in caplog.messages[1]


def test_what_a_fork_did_to_grpc_is_no_fault_of_the_destination(caplog: pytest.LogCaptureFixture) -> None:
    (spans,) = reports("spans")
    spans.away("GrpcAfterFork")
    assert caplog.messages == []


def test_a_refused_part_of_what_counts_as_one_is_told_once_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    (metrics,) = reports("metric collections")
    for reason in ("400", "400", "413"):
        metrics.refused(0, reason)
    metrics.refused(1, "400")
    assert [message.rpartition(" (")[0] for message in caplog.messages] == [
        "http://there:4318/v1/x refused a part of the metric collections"
    ] * 2
