"""Encoding finished spans of the SDK to OTLP bytes: microseconds of CPU a span.

Usage: encode_cost.py DRIVER SPANS      (the stock encoder, unless spanwise is installed)
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from bench_common import Meter, attributes, report
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

BATCH = 512  # spans of one request, the specification's default


class Keep(SpanProcessor):
    """Keeps what ended."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """Keeps it."""
        self.spans.append(span)


def finished(count: int) -> list[ReadableSpan]:
    """Spans of the stock SDK, the same for both encoders: in pairs of parent and child."""
    keep = Keep()
    provider = TracerProvider(resource=Resource.create({"service.name": "bench"}))
    provider.add_span_processor(keep)
    tracer = provider.get_tracer("bench", "1.0")
    for number in range(0, count, 2):
        with tracer.start_as_current_span("work", attributes=dict(attributes(number, 8))):
            tracer.start_span("work", attributes=dict(attributes(number + 1, 8))).end()
    return keep.spans


def encoder() -> Any:
    """The arm's function from spans to bytes."""
    if importlib.util.find_spec("spanwise"):
        from spanwise.encode.spans import encode_spans

        return encode_spans
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as stock

    return lambda spans: stock(spans).SerializeToString()


def main() -> None:
    """Measures each span's first encoding, after a warm-up with others."""
    encode, count = encoder(), int(sys.argv[2])
    warm, spans = finished(4 * BATCH), finished(count)
    encode(warm)
    meter, size = Meter(), 0
    for at in range(0, count, BATCH):
        batch = spans[at : at + BATCH]
        with meter:
            body = encode(batch)
        size += len(body)
    report({"process": meter.process / count * 1e6, "bytes": size / count})


if __name__ == "__main__":
    main()
