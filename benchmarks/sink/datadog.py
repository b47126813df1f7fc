"""The Datadog agent's trace intake: MessagePack, v0.4 (maps) and v0.5 (rows with a string table).

https://github.com/DataDog/datadog-agent/blob/main/pkg/trace/api/version.go
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.sink.model import Span
from benchmarks.sink.msgpack import unpack

__all__ = ["decode"]

# Columns of a v0.5 row: service, name, resource, trace, span, parent, start, duration, error, meta,
# metrics, type.
_NAME, _META, _METRICS = 1, 9, 10


def decode(path: str, body: bytes) -> Iterator[Span]:
    """The spans of one request; none for what is no trace (statistics, telemetry).

    Attributes are counted over ``meta`` and ``metrics``, in which the tracer's own stand too.
    """
    if path.startswith("/v0.5/traces"):
        texts, traces = unpack(body)
        for trace in traces:
            for row in trace:
                yield Span(texts[row[_NAME]], len(row[_META]) + len(row[_METRICS]))
    elif path.startswith(("/v0.4/traces", "/v0.3/traces")):
        for trace in unpack(body):
            for span in trace:
                count = len(span.get("meta") or ()) + len(span.get("metrics") or ())
                yield Span(span["name"], count)
