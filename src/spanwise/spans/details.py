"""What a span holds besides its attributes: events, links, exceptions. Made only when there are any."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import Event, EventBase
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.semconv.attributes.exception_attributes import EXCEPTION_ESCAPED
from opentelemetry.trace import Link, SpanContext
from opentelemetry.util.types import AnyValue, Attributes

from spanwise import names
from spanwise.log import Log
from spanwise.spans.faults import printable, told
from spanwise.spans.limits import bounded

if TYPE_CHECKING:
    from spanwise.spans.shared import Shared

__all__ = ["ENDED", "SpanDetails"]

# The SDK's logger and message, so that filters that applications have for them go on working.
_logger = Log("opentelemetry.sdk.trace")
ENDED = "Tried calling %s on an ended span."


class _FromShared:
    """An attribute of the SDK's Span that ours reads from what its tracer shares.

    Has no ``__set__``: code that assigns it on a span replaces it for that span, as with the SDK's.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, span: SpanDetails | None, owner: type) -> Any:
        return self if span is None else getattr(span._shared, self._name)


class _LockOnDemand:
    """The SDK's span lock, made when somebody asks for it; nothing of ours takes it."""

    def __get__(self, span: SpanDetails | None, owner: type) -> Any:
        return self if span is None else span.__dict__.setdefault("_lock", threading.Lock())


class SpanDetails(SdkSpan):
    """The part of `spanwise.spans.span.Span` that few spans use."""

    _shared: Shared
    _event_list: Any = None
    _link_list: Any = None

    _sampler = _FromShared("sampler")
    _limits = _FromShared("limits")
    _span_processor = _FromShared("processor")
    _instrumentation_info = _FromShared("info")
    _lock = _LockOnDemand()

    @property
    def _events(self) -> Any:
        events = self._event_list
        if events is None:
            events = self.__dict__.setdefault("_event_list", BoundedList(self._limits.max_events))
        return events

    @_events.setter
    def _events(self, value: Any) -> None:
        self._event_list = value

    @property
    def events(self) -> Sequence[Event]:
        return () if self._event_list is None else tuple(self._event_list)

    @property
    def dropped_events(self) -> int:
        return self._event_list.dropped if isinstance(self._event_list, BoundedList) else 0

    @property
    def _links(self) -> Any:
        links = self._link_list
        if links is None:
            links = self.__dict__.setdefault("_link_list", self._new_links(()))
        return links

    @_links.setter
    def _links(self, value: Any) -> None:
        self._link_list = value

    @property
    def links(self) -> Sequence[Link]:
        return () if self._link_list is None else tuple(self._link_list)

    @property
    def dropped_links(self) -> int:
        return self._link_list.dropped if isinstance(self._link_list, BoundedList) else 0

    def _new_links(self, links: Sequence[Link]) -> Any:
        made: Any = BoundedList(self._limits.max_links)
        for link in links:
            if link and _says_something(link.context, link.attributes):
                made.append(self._new_link(link.context, link.attributes))
        return made

    def _new_link(self, context: SpanContext, attributes: Attributes) -> Link:
        limits = self._limits
        return Link(context, bounded(limits.max_link_attributes, attributes, limits.max_attribute_length))

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        limits = self._limits
        clean = bounded(limits.max_event_attributes, attributes, limits.max_attribute_length)
        self._add_event(Event(name=name, attributes=clean, timestamp=timestamp))

    def _add_event(self, event: EventBase) -> None:
        if self._end_time is None:
            self._events.append(event)
        else:
            _logger.warning(ENDED, "_add_event")

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        if _says_something(context, attributes):
            self._add_link(self._new_link(context, attributes))

    def _add_link(self, link: Link) -> None:
        if self._end_time is None:
            self._links.append(link)
        else:
            _logger.warning(ENDED, "_add_link")

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        kind = type(exception)
        builtin = not kind.__module__ or kind.__module__ == "builtins"
        message, stacktrace = told(exception)
        recorded: dict[str, AnyValue] = {
            names.EXCEPTION_TYPE: kind.__qualname__ if builtin else f"{kind.__module__}.{kind.__qualname__}",
            names.EXCEPTION_MESSAGE: message,
            names.EXCEPTION_STACKTRACE: _stacktrace(exception) if stacktrace is None else stacktrace,
            EXCEPTION_ESCAPED: str(escaped),
        }
        if attributes:
            recorded.update(attributes)
        self.add_event(name="exception", attributes=recorded, timestamp=timestamp)


def _says_something(context: SpanContext | None, attributes: Attributes) -> bool:
    """Whether a link carries anything: a valid context, or attributes or a trace state."""
    return bool(context and (context.is_valid or attributes or context.trace_state))


def _stacktrace(exception: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(exception))
    except Exception:
        return printable(exception)
