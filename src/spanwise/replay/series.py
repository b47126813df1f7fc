"""The metrics that spans give, counted as rules need them.

Two sorts: what the Collector's span metrics connector makes of all spans, and application metrics that are
recorded with each span of a sort. A rule on any other metric cannot be answered from traces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from spanwise import names
from spanwise.labels import label_text
from spanwise.replay.spans import KINDS, Span
from spanwise.rules.model import Series

__all__ = ["NotInTraces", "Tally", "tally"]

_KIND_LABELS: Final = {f"SPAN_KIND_{kind.upper()}": number for number, kind in enumerate(KINDS)}
_STATUS_LABELS: Final = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}
_NANOSECONDS: Final = 1_000_000_000
_NOBODY: Final = -1  # a kind or status that no span has


class NotInTraces(Exception):
    """Spans do not give this series; the text says why."""


def _seconds(span: Span) -> float | None:
    return max(0, span.end - span.start) / _NANOSECONDS


def _buffer_ratio(span: Span) -> float | None:
    waited, took = span.attributes.get(names.STREAM_BUFFER_TIME.name), span.end - span.start
    return waited * _NANOSECONDS / took if isinstance(waited, (int, float)) and took > 0 else None


@dataclass(frozen=True)
class _Source:
    """With which spans a metric is recorded.

    Attributes:
        kind: OTLP's number; None for any.
        present: an attribute that is there; empty for none in particular.
        wanted: attributes that have this value.
        value: what a histogram records.
    """

    kind: int | None = None
    present: str = ""
    wanted: tuple[tuple[str, str], ...] = ()
    value: Callable[[Span], float | None] = _seconds


_INTERNAL, _SERVER, _CLIENT = (KINDS.index(kind) for kind in ("internal", "server", "client"))
_PRELOAD: Final = ((names.OPERATION_KIND, "preload"),)
_STREAM: Final = ((names.OPERATION_KIND, "stream"),)
_OF_SPANS: Final = (names.SPAN_METRICS_CALLS.name, names.SPAN_METRICS_DURATION.name)
_OF_THE_APPLICATION: Final = {
    names.HTTP_SERVER_REQUEST_DURATION.name: _Source(_SERVER, names.HTTP_REQUEST_METHOD),
    names.DB_CLIENT_OPERATION_DURATION.name: _Source(_CLIENT, names.DB_SYSTEM_NAME),
    names.OPERATION_DURATION.name: _Source(present=names.OPERATION_NAME),
    names.PRELOAD_EVENTS.name: _Source(_INTERNAL, wanted=_PRELOAD),
    names.PRELOAD_DURATION.name: _Source(_INTERNAL, wanted=_PRELOAD),
    names.STREAM_STARTED.name: _Source(_INTERNAL, wanted=_STREAM),
    names.STREAM_ERRORS.name: _Source(_INTERNAL, wanted=(*_STREAM, (names.STREAM_OUTCOME, "error"))),
    names.STREAM_COMPLETED.name: _Source(_INTERNAL, wanted=(*_STREAM, (names.STREAM_OUTCOME, "completed"))),
    names.STREAM_DURATION.name: _Source(_INTERNAL, wanted=_STREAM),
    names.STREAM_BUFFER_RATIO.name: _Source(_INTERNAL, wanted=_STREAM, value=_buffer_ratio),
}


@dataclass(frozen=True)
class Tally:
    """One series that is counted.

    Attributes:
        resolution: nanoseconds of a slice of time.
        kind, status: OTLP's numbers; None for any.
        rating, rule: the span's rating and its rule; None for any, rated or not.
        present: an attribute that is there; empty for none in particular.
        wanted: attributes or resource attributes that have this value, written as text.
        service: the service; None for any.
        name: the span's name; None for any.
        of_spans: made by the Collector, which passes over spans without a service.
        beyond: only values greater than it are counted; None for all.
        value: the value.
    """

    resolution: int
    kind: int | None
    status: int | None
    rating: str | None
    rule: str | None
    present: str
    wanted: tuple[tuple[str, str], ...]
    service: str | None
    name: str | None
    of_spans: bool
    beyond: float | None
    value: Callable[[Span], float | None]

    def holds(self, span: Span, service: str, resource: Mapping[str, Any]) -> bool:
        """Whether a span of its kind and rating counts."""
        if self.status is not None and span.status != self.status:
            return False
        attributes = span.attributes
        if self.present and attributes.get(self.present) is None:
            return False
        for key, wanted in self.wanted:
            value = attributes.get(key)
            if value is None and self.of_spans:
                value = resource.get(key)
            if label_text(value) != wanted:
                return False
        if self.service is not None and service != self.service:
            return False
        if self.name is not None and span.name != self.name:
            return False
        if self.of_spans and not service:
            return False
        if self.beyond is None:
            return True
        value = self.value(span)
        return value is not None and value > self.beyond


def tally(series: Series, resolution: int, dimensions: tuple[str, ...], beyond: float | None = None) -> Tally:
    """What counts a series.

    Args:
        series: which measurements.
        resolution: nanoseconds of a slice of time.
        dimensions: the attributes by which the Collector's span metrics are told apart.
        beyond: only values greater than it are counted; None for all.

    Raises:
        NotInTraces: spans do not give it.
    """
    of_spans = series.metric in _OF_SPANS
    source = _Source() if of_spans else _OF_THE_APPLICATION.get(series.metric)
    if source is None:
        raise NotInTraces(f"{series.metric} is not made of spans")
    kind, status, wanted = source.kind, None, list(source.wanted)
    said: dict[str, str] = {}
    for key, value in series.labels:
        if key == names.SERVICE_NAME:
            said[key] = value
        elif not of_spans:
            wanted.append((key, value))
        elif key == names.SPAN_METRICS_KIND:
            kind = _KIND_LABELS.get(value, _NOBODY)
        elif key == names.SPAN_METRICS_STATUS:
            status = _STATUS_LABELS.get(value, _NOBODY)
        elif key in (names.SPAN_METRICS_SPAN, names.RATING, names.RATING_RULE):
            said[key] = value
        elif key in dimensions:
            wanted.append((key, value))
        else:
            raise NotInTraces(f"the Collector's span metrics have no {key}")
    return Tally(
        resolution,
        kind,
        status,
        said.get(names.RATING),
        said.get(names.RATING_RULE),
        source.present,
        tuple(wanted),
        said.get(names.SERVICE_NAME),
        said.get(names.SPAN_METRICS_SPAN),
        of_spans,
        beyond,
        source.value,
    )
