"""Standard-library logging keeps its ways; records carry and are exported with their trace."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import format_span_id, format_trace_id, use_span

from spanwise.instrumentors.logging import LoggingInstrumentor


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


def test_what_is_kept_from_the_root_logger_is_kept_from_us(exported: InMemoryLogRecordExporter) -> None:
    private = logging.getLogger("private.audit")
    logging.getLogger("private").propagate = False
    try:
        private.error("secret")
    finally:
        logging.getLogger("private").propagate = True
    assert exported.get_finished_logs() == ()
    private.error("open")
    assert [each.log_record.body for each in exported.get_finished_logs()] == ["open"]


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
