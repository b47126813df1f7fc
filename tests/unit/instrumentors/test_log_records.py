"""What a record of Python's logging becomes: contrib's handler is the oracle; hostile ones are survived."""

from __future__ import annotations

import datetime
import decimal
import enum
import gc
import logging
import pathlib
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from spanwise.encode.attributes import TOO_DEEP, TOO_LARGE, UNENCODABLE
from spanwise.encode.logs import encode_log
from spanwise.instrumentors import _log_records
from spanwise.instrumentors._log_records import RecordExport
from spanwise.log import Log

CONTEXT = SpanContext(7, 5, False, TraceFlags(1))
TEXTS = st.text(max_size=9)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    max_leaves=5,
)
EXTRAS = st.builds(
    lambda some, named: {**some, **named},
    st.dictionaries(
        TEXTS.filter(lambda key: key and key not in vars(logging.makeLogRecord({})))
        | st.sampled_from(["exception.type", "code.line.number"]),
        VALUES,
        max_size=4,
    ),
    st.dictionaries(st.sampled_from(["event.name", "otel.event.name"]), st.none() | TEXTS),
)


class Exported:
    """One way of export, to memory."""

    def __init__(self, *processors: LogRecordProcessor) -> None:
        self._memory = InMemoryLogRecordExporter()
        self.provider = LoggerProvider(shutdown_on_exit=False)
        self.provider.add_log_record_processor(SimpleLogRecordProcessor(self._memory))
        for each in processors:
            self.provider.add_log_record_processor(each)
        self.export = RecordExport(self.provider)

    def records(self) -> list[Any]:
        return [each.log_record for each in self._memory.get_finished_logs()]

    def bodies(self) -> list[Any]:
        return [each.body for each in self.records()]

    def of(self, **fields: Any) -> Any:
        """What becomes of a record with these fields."""
        self.export.take(logging.makeLogRecord({"name": "app", "msg": "said", "levelno": 30, **fields}))
        for each in self._memory.get_finished_logs():
            encode_log(each)
        return self.records()[-1]


@pytest.fixture(autouse=True)
def _quiet_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said once a minute may be said in each test."""
    monkeypatch.setattr(_log_records, "_logger", Log("spanwise.instrumentors.logging"))


@pytest.fixture
def ours() -> Exported:
    return Exported()


def told(record: Any) -> dict[str, Any]:
    fields = dict(vars(record), attributes=dict(record.attributes))
    del fields["observed_timestamp"], fields["context"]
    return fields


def failed(error: BaseException) -> Any:
    try:
        raise error
    except BaseException:
        return sys.exc_info()


MESSAGES: list[Any] = [
    ("plain", ()),
    ("%s of %d", ("x", 2)),
    (5, ()),
    ("%(a)s", ({"a": 1},)),
    ("", None),
]
ERRORS: list[Any] = [
    None,
    (None, None, None),
    failed(ValueError("wrong", 2)),
    failed(KeyError()),
    failed(OSError(2, "missing")),
]


@given(
    level=st.integers(0, 70),
    message=st.sampled_from(
        [("plain", ()), ("%s of %d", ("x", 2)), (5, ()), ("%(a)s", ({"a": 1},)), ("", None)]
    ),
    extras=EXTRAS,
    error=st.sampled_from(ERRORS),
    spanned=st.booleans(),
    code=st.booleans(),
    created=st.floats(0, 4e9),
)
def test_a_record_says_what_contribs_handler_has_it_say(
    level: int, message: Any, extras: Any, error: Any, spanned: bool, code: bool, created: float
) -> None:
    memory = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
    record = logging.LogRecord("app.part", level, "/a/b.py", 12, *message, error, "function")
    record.created = created
    vars(record).update(extras)
    span = NonRecordingSpan(CONTEXT)
    with trace.use_span(span if spanned else trace.INVALID_SPAN):
        LoggingHandler(logger_provider=provider, log_code_attributes=code).handle(record)
        RecordExport(provider, code_attributes=code).take(record)
    theirs, ours = memory.get_finished_logs()
    assert told(ours.log_record) == told(theirs.log_record)
    assert ours.instrumentation_scope == theirs.instrumentation_scope


def test_the_fields_of_a_record_of_this_python_are_no_attributes(ours: Exported) -> None:
    record = logging.LogRecord("app", 20, "f.py", 1, "m", (), None)
    logging.Formatter("%(asctime)s").format(record)
    ours.export.take(record)
    assert dict(ours.records()[0].attributes) == {}


class Raises:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


class Colour(enum.Enum):
    RED = 1


@dataclass
class Point:
    x: int


class Broken(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("gone")

    def __len__(self) -> int:
        return 1


class BrokenSequence(Sequence[int]):
    def __getitem__(self, index: Any) -> Any:
        raise RuntimeError("gone")

    def __len__(self) -> int:
        return 1


class Liar:
    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class")

    def __str__(self) -> str:
        return "liar"


def cyclic() -> Any:
    made: list[Any] = [1]
    made.append(made)
    return made


def deep() -> Any:
    made: Any = "bottom"
    for _ in range(50_000):
        made = [made]
    return made


def wide() -> Any:
    made: Any = ["x"] * 10
    for _ in range(9):
        made = [made] * 10
    return made


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (decimal.Decimal("1.50"), "1.50"),
        (datetime.datetime(2026, 1, 2, 3), "2026-01-02 03:00:00"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (Colour.RED, "Colour.RED"),
        (Point(1), "Point(x=1)"),
        ({1}, "{1}"),
        (b"\xff", b"\xff"),
        (1 << 70, 1 << 70),
        (10**5000, 10**5000),
        (Raises(), UNENCODABLE),
        ([1, Raises()], (1, UNENCODABLE)),
        ({"a": {Raises(): 1, 2: None}}, {"a": {UNENCODABLE: 1, "2": None}}),
        (Broken(), UNENCODABLE),
        (BrokenSequence(), UNENCODABLE),
        (Liar(), UNENCODABLE),
        (range(10**9), TOO_LARGE),
        (wide(), TOO_LARGE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_opentelemetry_has_no_type_for_arrives(
    value: Any, expected: Any, ours: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    assert ours.of(value=value, order=1).attributes == {"value": expected, "order": 1}
    assert caplog.messages == []


@pytest.mark.parametrize("make", [cyclic, deep])
def test_a_value_without_end_arrives_as_far_as_it_goes(make: Callable[[], Any], ours: Exported) -> None:
    found = ours.of(value=make()).attributes["value"]
    levels = 0
    while isinstance(found, tuple):
        found = found[-1]
        levels += 1
    assert (found, levels) == (TOO_DEEP, 30)


@pytest.mark.parametrize(
    ("message", "arguments", "begins"),
    [
        ("record %d", ("x",), "record %d <arguments that do not fit (TypeError: "),
        ("record", (1,), "record <arguments that do not fit (TypeError: not all"),
        ("record %s", (Raises(),), "record %s <arguments that do not fit (RuntimeError: no text)>"),
        ("record %(a)s", {"b": 1}, "record %(a)s <arguments that do not fit (KeyError: 'a')>"),
        ("record %y", (1,), "record %y <arguments that do not fit (ValueError: "),
        (Raises(), (), UNENCODABLE),
        ("record %s", (deep(),), "record %s <arguments that do not fit (RecursionError"),
    ],
)
def test_a_message_that_cannot_be_formatted_arrives(
    message: Any, arguments: Any, begins: str, ours: Exported
) -> None:
    assert ours.of(msg=message, args=arguments).body.startswith(begins)


@pytest.mark.parametrize(
    "fields",
    [
        {"levelno": "high", "levelname": 7},
        {"levelno": None, "levelname": None},
        {"name": None},
        {"name": Raises()},
        {"created": "yesterday"},
        {"created": float("nan")},
        {"created": -1.0},
        {"exc_info": True},
        {"exc_info": (1, 2)},
        {"exc_info": (ValueError, "x", 3)},
        {"exc_info": failed(ValueError(Raises()))},
        {"exc_info": ValueError("bare")},
        {"event.name": Raises()},
        {"": 1},
        {5: 1},
        {Raises(): 1},
        {"pathname": Raises(), "lineno": cyclic()},
    ],
)
def test_a_record_with_odd_fields_arrives(
    fields: Any, ours: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    ours.export = RecordExport(ours.provider, code_attributes=True)
    assert ours.of(order=1, **{str(k): v for k, v in fields.items() if isinstance(k, str)}).body == "said"
    record = logging.makeLogRecord({"msg": "again"})
    record.__dict__.update(fields)
    ours.export.take(record)
    assert ours.records()[-1].body == "again"
    assert caplog.messages == []


class Obstinate(logging.LogRecord):
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __init__(self, *_: Any) -> None: ...


def test_a_record_without_anything_arrives(ours: Exported, caplog: pytest.LogCaptureFixture) -> None:
    record = logging.LogRecord("app", 20, "f.py", 1, "m", (), None)
    vars(record).clear()
    ours.export.take(record)
    assert len(ours.records()) == 1
    ours.export.take(object())
    assert len(ours.records()) == 2
    ours.export.take(Obstinate("app", 20, "f.py", 1, "m", (), None))
    assert len(ours.records()) == 3
    assert caplog.messages == []


def test_many_attributes_are_cut_without_a_word_for_each(
    ours: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    record = logging.makeLogRecord({"msg": "wide"})
    vars(record).update({f"a{number}": number for number in range(100_000)})
    for _ in range(3):
        ours.export.take(record)
    kept = ours.records()[0].attributes
    assert (len(kept), kept.dropped, next(iter(kept))) == (128, 100_000 - 128, "a99872")
    assert len(caplog.messages) == 1


def test_long_values_are_cut_without_a_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")
    found = Exported().of(a="long text", b=["longer"], c=decimal.Decimal("1.23456")).attributes
    assert dict(found) == {"a": "lon", "b": ("lon",), "c": "1.2"}
    assert caplog.messages == []


class Says(LogRecordProcessor):
    """A processor that logs for each record, as one that debugs does."""

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        logging.getLogger("app.processor").warning("took %s", log_record.log_record.body)

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


@pytest.fixture
def attached(ours: Exported) -> Iterator[Exported]:
    """Whatever is logged comes to our export, as from the instrumentor."""
    yield from attach(ours)


def attach(exported: Exported) -> Iterator[Exported]:
    original = logging.Logger.callHandlers

    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        exported.export.take(record)
        original(self, record)

    logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign]
    yield exported
    logging.Logger.callHandlers = original  # type: ignore[method-assign]


def test_what_an_exporter_logs_is_exported_and_what_comes_of_that_is_not() -> None:
    for exported in attach(Exported(Says())):
        logging.getLogger("app").warning("first")
        logging.getLogger("app").warning("second")
        assert exported.bodies() == ["first", "took first", "second", "took second"]


class LogsItself:
    def __str__(self) -> str:
        logging.getLogger("app").warning("asked", extra={"value": self})
        return "itself"


def test_a_value_that_logs_itself_ends(attached: Exported) -> None:
    logging.getLogger("app").warning("outer", extra={"value": LogsItself()})
    assert attached.bodies() == ["outer", "asked"]


class Finalized:
    def __init__(self) -> None:
        self.cycle = self

    def __del__(self) -> None:
        logging.getLogger("app").warning("finalized")


class Interrupts(LogRecordProcessor):
    """A record is under way when a signal comes and garbage is collected."""

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        if log_record.log_record.body == "outer":
            with trace.use_span(NonRecordingSpan(CONTEXT)):
                signal.raise_signal(signal.SIGUSR1)
            Finalized()
            gc.collect()

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def test_signal_handlers_and_finalizers_may_log_while_a_record_is_under_way() -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: logging.getLogger("app").warning("signalled"))
    gc.disable()
    try:
        for exported in attach(Exported(Interrupts())):
            logging.getLogger("app").warning("outer")
            assert exported.bodies() == ["outer", "signalled", "finalized"]
            outer, signalled, finalized = exported.records()
            assert (outer.trace_id, signalled.trace_id, finalized.trace_id) == (0, 7, 0)
    finally:
        gc.enable()
        signal.signal(signal.SIGUSR1, before)


class Fails(LogRecordProcessor):
    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        raise RuntimeError("the application's processor")

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def test_what_a_processor_raises_does_not_reach_the_application(caplog: pytest.LogCaptureFixture) -> None:
    for exported in attach(Exported(Fails())):
        for number in range(5):
            logging.getLogger("app").warning("record %d", number)
        assert [body for body in exported.bodies() if body.startswith("record")] == [
            f"record {number}" for number in range(5)
        ]
    assert len([each for each in caplog.messages if "exporting a log record failed" in each]) == 1


def test_threads_that_log_at_once_lose_nothing(attached: Exported) -> None:
    def run(number: int) -> None:
        for each in range(200):
            logging.getLogger(f"app.{number}").warning("%d", each)

    running = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert len(attached.bodies()) == 800


def test_what_ends_a_program_passes(ours: Exported) -> None:
    class Ends:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ours.of(value=Ends())
    assert ours.of(value=1).attributes == {"value": 1}
