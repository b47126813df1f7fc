"""Standard-library logging keeps its ways; records carry and are exported with their trace."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import format_span_id, format_trace_id, use_span

from spanwise.instrumentors.logging import LoggingInstrumentor

BEFORE = logging.LogRecord.__init__


@pytest.fixture
def exported() -> Iterator[InMemoryLogRecordExporter]:
    """Instrumented logging, exporting to memory."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    original = logging.Logger.callHandlers
    LoggingInstrumentor().instrument(logger_provider=provider)
    yield exporter
    LoggingInstrumentor().uninstrument()
    assert logging.Logger.callHandlers is original


def test_records_carry_the_ids_and_are_exported_with_them(
    exported: InMemoryLogRecordExporter, caplog: pytest.LogCaptureFixture
) -> None:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("t").start_span("s")
    with use_span(span):
        logging.getLogger("app.part").warning("in %s", "it")
    logging.getLogger("app.part").warning("outside")
    context = span.get_span_context()
    within, outside = caplog.records
    assert within.otelTraceID == format_trace_id(context.trace_id)  # type: ignore[attr-defined]
    assert within.otelSpanID == format_span_id(context.span_id)  # type: ignore[attr-defined]
    assert within.otelTraceSampled is True  # type: ignore[attr-defined]
    assert outside.otelTraceID == "0"  # type: ignore[attr-defined]
    first, second = (each.log_record for each in exported.get_finished_logs())
    assert (first.body, first.trace_id, first.span_id) == ("in it", context.trace_id, context.span_id)
    assert (second.body, second.trace_id) == ("outside", 0)


def test_what_is_kept_from_the_root_logger_is_exported_too(exported: InMemoryLogRecordExporter) -> None:
    """gunicorn's and uvicorn's loggers have handlers of their own: their tracebacks are wanted."""
    private = logging.getLogger("private.server")
    logging.getLogger("private").propagate = False
    try:
        private.error("failed")
    finally:
        logging.getLogger("private").propagate = True
    private.error("propagated")
    assert [each.log_record.body for each in exported.get_finished_logs()] == ["failed", "propagated"]


@pytest.mark.parametrize(
    "code",
    [
        "logging.getLogger('a').warning('last resort'); logging.getLogger('a').info('not shown')",
        "logging.warning('by the module')",
        "logging.basicConfig(format='%(levelname)s|%(message)s', level=20); logging.getLogger('a').info('x')",
        "logging.getLogger('a').addHandler(logging.NullHandler()); logging.getLogger('a').error('nowhere')",
    ],
)
def test_what_an_application_prints_is_unchanged(code: str) -> None:
    ours = (
        "from opentelemetry._logs import set_logger_provider\n"
        "from opentelemetry.sdk._logs import LoggerProvider\n"
        "set_logger_provider(LoggerProvider())\n"
        "from spanwise.instrumentors.logging import LoggingInstrumentor\nLoggingInstrumentor().instrument()\n"
    )
    plain, instrumented = (
        subprocess.run(
            [sys.executable, "-c", f"{before}import logging\n{code}"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        for before in ("", ours)
    )
    assert (instrumented.stdout, instrumented.stderr) == (plain.stdout, plain.stderr)


def test_a_warning_of_the_delivery_is_not_delivered(exported: InMemoryLogRecordExporter) -> None:
    logging.getLogger("spanwise.deliver").warning("log records cannot be delivered")
    logging.getLogger("spanwise").warning("anything else")
    assert [each.log_record.body for each in exported.get_finished_logs()] == ["anything else"]


STARTED = """
import logging, sys
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from spanwise.instrumentors.logging import LoggingInstrumentor
made_before = logging.LogRecord("shop", 30, "f.py", 1, "said", (), None)
trace.set_tracer_provider(TracerProvider(resource=Resource({"service.name": "shop-service"})))
LoggingInstrumentor().instrument(enable_log_auto_instrumentation=False)
"""


def run(code: str, **environment: str) -> list[str]:
    """Lines on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", STARTED + code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**{k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}, **environment},
    )
    return done.stderr.splitlines()


def test_correlation_prints_lines_with_the_trace_s_ids() -> None:
    lines = run(
        """
with trace.get_tracer("t").start_as_current_span("s") as span:
    logging.getLogger("shop").info("within")
    print(trace.format_trace_id(span.get_span_context().trace_id), file=sys.stderr)
logging.getLogger("shop").debug("not shown")
logging.getLogger("shop").warning("outside")
""",
        OTEL_PYTHON_LOG_CORRELATION="true",
    )
    within, trace_id, outside = lines
    assert f"[trace_id={trace_id} span_id=" in within
    assert within.endswith("resource.service.name=shop-service trace_sampled=True] - within")
    assert outside.endswith(
        "[trace_id=0 span_id=0 resource.service.name=shop-service trace_sampled=False] - outside"
    )


MADE = {
    "makeLogRecord": "shop.handle(logging.makeLogRecord({'msg': 'said', 'levelno': 30}))",
    "makeLogRecord to a handler": "handler.handle(logging.makeLogRecord({'msg': 'said'}))",
    "constructor": "handler.handle(logging.LogRecord('shop', 30, 'f.py', 1, 'said', (), None))",
    "factory": "logging.setLogRecordFactory(Own); shop.warning('said')",
    "factory to a handler": """
        logging.setLogRecordFactory(lambda *a, **k: Own(*a, **k))
        handler.handle(logging.makeLogRecord({'msg': 'said'}))""",
    "before the start": "shop.handle(pickle.loads(pickle.dumps(made_before)))",
    "without __init__": "shop.handle(Bare())",
    "not propagated": "shop.propagate = False; shop.addHandler(handler); shop.error('said')",
    "queue": """
        queue = Queue()
        shop.addHandler(QueueHandler(queue))
        shop.propagate = False
        listener = QueueListener(queue, handler)
        listener.start()
        shop.error('said')
        listener.stop()""",
    "warning": "logging.captureWarnings(True); warnings.warn('said')",
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_a_format_with_contribs_fields_loses_no_line_however_the_record_was_made(make: str) -> None:
    lines = run(
        f"""
import pickle, textwrap, warnings
from logging.handlers import QueueHandler, QueueListener
from queue import Queue
class Own(logging.LogRecord): pass
class Bare(logging.LogRecord):
    def __init__(self): self.__dict__.update(made_before.__dict__)
handler = logging.StreamHandler()
logging.basicConfig(handlers=[handler])
handler.setFormatter(logging.Formatter(
    "%(otelTraceID)s %(otelSpanID)s %(otelTraceSampled)s %(otelServiceName)s %(message)s"
))
shop = logging.getLogger("shop")
with trace.get_tracer("t").start_as_current_span("s"):
    exec(textwrap.dedent({make!r}))
"""
    )
    assert not [line for line in lines if "Logging error" in line or "KeyError" in line]
    assert [line for line in lines if "said" in line]


def test_a_record_keeps_the_ids_it_was_made_with() -> None:
    lines = run(
        """
logging.basicConfig(format="%(otelSpanID)s %(message)s")
with trace.get_tracer("t").start_as_current_span("s") as span:
    record = logging.LogRecord("shop", 30, "f.py", 1, "said", (), None)
logging.getLogger("shop").handle(record)
print(trace.format_span_id(span.get_span_context().span_id), "said", file=sys.stderr)
"""
    )
    assert lines[0] == lines[1]


@pytest.mark.parametrize(
    ("wanted", "printed"),
    [
        ("%(levelname)s|%(message)s|%(otelServiceName)s", "WARNING|hello|shop-service"),
        ("%(nosuch)s %(message)s", "- hello"),
        ("%(levelname)d %(message)s", "- hello"),
        ("{message}", "- hello"),
        ("%(message", "- hello"),
        ("no field at all", "- hello"),
    ],
)
def test_a_format_that_cannot_be_used_loses_no_line(wanted: str, printed: str) -> None:
    lines = run(
        "logging.getLogger('shop').warning('hello'); logging.getLogger('shop').warning('hello')",
        OTEL_PYTHON_LOG_CORRELATION="true",
        OTEL_PYTHON_LOG_FORMAT=wanted,
    )
    assert not [line for line in lines if "Logging error" in line]
    assert len([line for line in lines if line.endswith(printed)]) == 2
    assert len([line for line in lines if "OTEL_PYTHON_LOG_FORMAT" in line]) == (printed[0] == "-")


def test_a_level_that_is_none_is_told_and_costs_itself() -> None:
    lines = run(
        "logging.getLogger('shop').info('hello')",
        OTEL_PYTHON_LOG_CORRELATION="true",
        OTEL_PYTHON_LOG_LEVEL="lots",
    )
    assert any(line.endswith("- hello") for line in lines)
    assert len([line for line in lines if "OTEL_PYTHON_LOG_LEVEL=lots is no level" in line]) == 1


def test_the_hook_of_an_application_sees_each_record_in_a_span() -> None:
    seen: list[Any] = []
    LoggingInstrumentor().instrument(
        enable_log_auto_instrumentation=False, log_hook=lambda span, record: seen.append((span, record.msg))
    )
    try:
        span = TracerProvider(shutdown_on_exit=False).get_tracer("t").start_span("s")
        with use_span(span):
            logging.getLogger("app").warning("within")
        logging.getLogger("app").warning("outside")
    finally:
        LoggingInstrumentor().uninstrument()
    assert seen == [(span, "within")]


def test_what_another_put_on_top_of_ours_stays() -> None:
    before = logging.Logger.callHandlers
    LoggingInstrumentor().instrument(enable_log_auto_instrumentation=False)
    ours = logging.Logger.callHandlers

    def on_top(self: logging.Logger, record: logging.LogRecord) -> None:
        ours(self, record)

    logging.Logger.callHandlers = on_top  # type: ignore[method-assign]
    try:
        LoggingInstrumentor().uninstrument()
        assert logging.Logger.callHandlers is on_top
        record = logging.makeLogRecord({"name": "app", "levelno": 30})
        logging.getLogger("app").handle(record)
        assert not hasattr(record, "otelTraceID")
    finally:
        logging.Logger.callHandlers = before  # type: ignore[method-assign]
    assert logging.LogRecord.__init__ is BEFORE


def test_start_up_imports_neither_contrib_nor_opentelemetrys_logs() -> None:
    code = (
        "import sys; from spanwise.instrumentors.logging import LoggingInstrumentor;"
        "LoggingInstrumentor().instrument();"
        "print([name for name in sys.modules if '_logs' in name or name.startswith('opentelemetry.instr')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
