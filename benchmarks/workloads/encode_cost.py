"""Encoding finished spans to OTLP bytes: microseconds of CPU a span.

``process`` is what the arm does in an application: its own spans through its own encoder. ``foreign`` is the
same encoder with spans of the stock SDK, as another library's provider may send it.

Usage: encode_cost.py DRIVER SPANS      (the stock encoder, unless spanwise is installed)
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bench_common import Meter, attributes, report
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

BATCH = 512  # spans of one request, the specification's default

Encode = Callable[[Sequence[Any]], bytes]


class Keep(SpanProcessor):
    """Keeps what ended."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def on_end(self, span: Any) -> None:
        """Keeps it."""
        self.spans.append(span)


def batches(count: int, kind: type[TracerProvider]) -> Iterator[list[Any]]:
    """Spans in pairs of parent and child, a request's worth at a time, just ended, as exporters get them."""
    keep = Keep()
    provider = kind(resource=Resource.create({"service.name": "bench"}))
    provider.add_span_processor(keep)
    tracer = provider.get_tracer("bench", "1.0")
    for first in range(0, count, BATCH):
        for number in range(first, first + BATCH, 2):
            with tracer.start_as_current_span("work", attributes=dict(attributes(number, 8))):
                tracer.start_span("work", attributes=dict(attributes(number + 1, 8))).end()
        batch, keep.spans = keep.spans, []
        yield batch


def ways() -> dict[str, tuple[type[TracerProvider], Encode]]:
    """The arm's figures, each with whose spans are encoded by which function."""
    if not importlib.util.find_spec("spanwise"):
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as stock

        return {"process": (TracerProvider, lambda spans: stock(spans).SerializeToString())}
    from spanwise.encode.request import frame
    from spanwise.encode.spans import encode_span_fields, encode_spans
    from spanwise.spans.provider import TracerProvider as Ours

    def own(spans: Sequence[Any]) -> bytes:
        handed = [span.hand_over(encode_span_fields) for span in spans]
        resource, scope, _ = handed[0]
        return frame(resource, [(scope, [body for _, _, body in handed])])

    return {"process": (Ours, own), "foreign": (TracerProvider, encode_spans)}


def cost(encode: Encode, kind: type[TracerProvider], count: int) -> tuple[float, float]:
    """Each span's first encoding, after a warm-up with others: microseconds and bytes a span."""
    warm = 4
    meter, size, encoded = Meter(), 0, 0
    for number, batch in enumerate(batches(warm * BATCH + count, kind)):
        if number < warm:
            encode(batch)
            continue
        with meter:
            body = encode(batch)
        size += len(body)
        encoded += len(batch)
    return meter.process / encoded * 1e6, size / encoded


def main() -> None:
    """Measures the arm's encoder."""
    count, values = int(sys.argv[2]), {}
    for name, (kind, encode) in ways().items():
        values[name], values["bytes"] = cost(encode, kind, count)
    report(values)


if __name__ == "__main__":
    main()
