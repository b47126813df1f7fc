"""Wrong arguments for each call of the logs API: what the SDK takes arrives, whatever is in it."""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource

from spanwise.deliver.account import Account
from spanwise.deliver.channel import Channel
from spanwise.deliver.log_signal import LogDelivery
from spanwise.deliver.source import Queue
from spanwise.encode.logs import encode_logs


def raises(*_: Any, **__: Any) -> Any:
    raise RuntimeError("hostile")


class Hostile:
    __repr__ = __str__ = __int__ = __float__ = __bool__ = __eq__ = __hash__ = __len__ = __iter__ = raises


class HostileText(str):
    __bool__ = __len__ = __str__ = __repr__ = raises


class Truthy:
    __repr__ = __str__ = __int__ = raises


class Colour(Enum):
    RED = "red"


def cyclic() -> Any:
    made: dict[str, Any] = {}
    made["self"] = [made]
    return made


def deep() -> Any:
    made: Any = 1
    for _ in range(5_000):
        made = {"k": made}
    return made


ANYTHING: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "text": lambda: "text",
    "surrogate": lambda: "\ud800",
    "hostile text": lambda: HostileText("x"),
    "bytes": lambda: b"\xff",
    "number": lambda: 5,
    "negative": lambda: -5,
    "huge": lambda: 10**5000,
    "nan": lambda: math.nan,
    "infinite": lambda: math.inf,
    "true": lambda: True,
    "decimal": lambda: decimal.Decimal(5),
    "list": lambda: [1, "x"],
    "mapping": lambda: {"k": 1, 2: None},
    "cyclic": cyclic,
    "deep": deep,
    "set": lambda: {1},
    "hostile": Hostile,
    "truthy": Truthy,
    "object": object,
    "enumeration": lambda: Colour.RED,
    "severity": lambda: SeverityNumber.WARN,
    "context": Context,
    "error": lambda: ValueError("wrong"),
    "hostile error": lambda: ValueError(Truthy()),
    "generator": lambda: iter([1]),
}
FIELDS = (
    *("timestamp", "observed_timestamp", "context", "severity_number", "severity_text", "body", "attributes"),
    *("event_name", "exception"),
)


class Side:
    """The SDK's provider with our end of the channel, or with nothing."""

    def __init__(self, processor: LogRecordProcessor | None) -> None:
        self.provider = LoggerProvider(Resource({}), shutdown_on_exit=False)
        if processor is not None:
            self.provider.add_log_record_processor(processor)

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            return "returned", type(function(*arguments, **named))
        except Exception as error:
            return "raised", type(error)


class Nothing(LogRecordProcessor):
    def on_emit(self, log_record: ReadWriteLogRecord) -> None: ...

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


@given(
    fields=st.dictionaries(st.sampled_from(FIELDS), st.sampled_from([*ANYTHING]), max_size=4),
    as_record=st.booleans(),
)
def test_what_the_sdk_takes_arrives(fields: dict[str, str], as_record: bool) -> None:
    queue = Queue(Account("logs"), encode_logs, capacity=9, batch=9)
    channel = Channel(queue, None, address="", delay=60)  # type: ignore[arg-type]
    came = []
    for processor in (Nothing(), LogDelivery(channel, lambda _: True)):
        side = Side(processor)
        logger = side.provider.get_logger("l")
        given = {name: ANYTHING[value]() for name, value in fields.items()}

        def emit(given: Any = given, logger: Any = logger) -> None:
            if as_record:
                logger.emit(LogRecord(**given))
            else:
                logger.emit(**given)

        came.append(side.call(emit))
    assert came[0] == came[1]
    assert queue.waiting == (came[1][0] == "returned")
    if came[1][0] == "returned":
        load: Any = queue.load(partial=True)
        (group,) = ExportLogsServiceRequest.FromString(b"".join(load.body)).resource_logs
        assert (load.count, len(group.scope_logs[0].log_records), queue.account.drops()) == (1, 1, {})


@pytest.mark.parametrize("what", ANYTHING)
def test_what_is_no_record_raises_what_the_sdk_raises(what: str) -> None:
    queue = Queue(Account("logs"), encode_logs, capacity=9, batch=9)
    channel = Channel(queue, None, address="", delay=60)  # type: ignore[arg-type]
    stock, ours = Side(Nothing()), Side(LogDelivery(channel, lambda _: True))
    for call in (
        lambda side: side.call(side.provider.get_logger("l").emit, ANYTHING[what]()),
        lambda side: side.call(side.provider.get_logger, ANYTHING[what]()),
        lambda side: side.call(side.provider.get_logger, "l", ANYTHING[what](), ANYTHING[what](), {}),
        lambda side: side.call(side.provider.force_flush, ANYTHING[what]()),
        lambda side: side.call(side.provider.shutdown, ANYTHING[what]()),
    ):
        assert call(ours) == call(stock)


@pytest.mark.parametrize("what", ANYTHING)
def test_any_time_out_of_a_flush_is_one(what: str) -> None:
    asked: list[float] = []

    def flush(timeout: float) -> bool:
        asked.append(timeout)
        return True

    channel = Channel(
        Queue(Account("logs"), encode_logs, capacity=9, batch=9),
        None,  # type: ignore[arg-type]
        address="",
        delay=60,
    )
    assert LogDelivery(channel, flush).force_flush(ANYTHING[what]())
    assert 0 <= asked[0] <= 86_400
