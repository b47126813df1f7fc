"""What a span holds besides its attributes: name, status, events, links, exceptions.

How this is correct without a lock, wherever a thread loses its turn: a writer first makes its place known
(`_extras_made`), then looks whether the span has ended, then writes in one step of C code. `end` first ends
the span, then looks for such a place, and copies it. So one of the two always sees the other: what was
written before the end is in the copy, and what comes later is written where nobody reads. A writer looks once
more afterwards, to tell of what was not taken.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import Event, EventBase
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.semconv.attributes.exception_attributes import EXCEPTION_ESCAPED
from opentelemetry.trace import Link, SpanContext, Status, StatusCode
from opentelemetry.util.types import AnyValue, Attributes

from spanwise import names
from spanwise.log import Log
from spanwise.spans.arguments import link_of, links_of, moment, says_something
from spanwise.spans.faults import printable, told
from spanwise.spans.kept import Extras, Kept
from spanwise.spans.limits import clean_items

if TYPE_CHECKING:
    from spanwise.spans.shared import Shared

__all__ = ["CLOSED", "UNSET", "SpanDetails"]

# The SDK's logger and messages, so that filters that applications have for them go on working.
_logger = Log("opentelemetry.sdk.trace")

UNSET: Final = Status(StatusCode.UNSET)
"""The status of a span that nobody gave one."""

# Of a type of C's: CPython takes its quick ways only past a class's attribute whose type nobody can change.
CLOSED: Final[Any] = MappingProxyType({})
"""What a span that has ended has in place of attributes to write to; writing raises TypeError."""


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
    _title: str
    _extras: Extras | None = None
    # Attributes to write to. `end` takes it away from the span, in one step that only one caller succeeds in;
    # what is then seen is this.
    _live: dict[str, AnyValue] = CLOSED

    _sampler = _FromShared("sampler")
    _limits = _FromShared("limits")
    _span_processor = _FromShared("processor")
    _instrumentation_info = _FromShared("info")
    _lock = _LockOnDemand()

    def _extras_made(self) -> Extras:
        """Its extras. Whoever writes to them asks first, and looks afterwards whether the span has ended."""
        extras = self._extras
        if extras is None:
            # setdefault: two threads that come here together get the same.
            extras = self.__dict__.setdefault("_extras", {})
        return extras

    def _tell_if_late(self, extras: Extras, key: str, value: Any, method: str) -> None:
        """Tells of what was written while the span ended, where it was not taken."""
        # While its extras are still the same, the other thread has not got so far as to take any.
        if self._extras is extras or self._extras_made().get(key) is not value:
            self._tell_late(method)

    def _tell_late(self, method: str) -> None:
        _logger.seldom(f"Tried calling {method} on an ended span.")

    # -- name and status ------------------------------------------------------------------------

    @property
    def _name(self) -> str:  # an attribute of the SDK's, read and set by many
        extras = self._extras
        return self._title if extras is None else extras.get("name", self._title)

    @_name.setter
    def _name(self, name: str) -> None:
        self._title = name
        if self._extras is not None:
            self._extras.pop("name", None)

    def update_name(self, name: str) -> None:
        extras = self._extras_made()
        if self._live is CLOSED:
            self._tell_late("update_name")
            return
        extras["name"] = name
        if self._live is CLOSED:
            self._tell_if_late(extras, "name", name, "update_name")

    @property
    def _status(self) -> Status:  # an attribute of the SDK's
        extras = self._extras
        return UNSET if extras is None else extras.get("ok") or extras.get("status", UNSET)

    @_status.setter
    def _status(self, status: Status) -> None:
        if status is UNSET or (self._extras is None and status.status_code is StatusCode.UNSET):
            return
        extras = self._extras_made()
        extras.pop("ok", None)
        extras["status"] = status

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        if self._live is CLOSED:
            self._tell_late("set_status")
            return
        code = status.status_code if isinstance(status, Status) else status
        # OK is final, and nothing goes back to unset.
        if code is StatusCode.UNSET or self._status.status_code is StatusCode.OK:
            return
        if isinstance(status, Status):
            if description is not None:
                _logger.seldom(
                    "Description %s ignored. Use either `Status` or `(StatusCode, Description)`", description
                )
        elif isinstance(status, StatusCode):
            status = _status_of(status, description)
        else:
            return
        extras = self._extras_made()
        if self._live is CLOSED:
            self._tell_late("set_status")
            return
        key = "status"
        if code is StatusCode.OK:
            key, status = "ok", extras.setdefault("ok", status)
        else:
            extras[key] = status
        if self._live is CLOSED:
            self._tell_if_late(extras, key, status, "set_status")

    def set_failure(self, error: BaseException) -> None:
        """Sets the status that a span gets when an exception leaves its block."""
        self.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {told(error)[0]}"))

    # -- events and links -----------------------------------------------------------------------

    def _kept(self, part: str, at_most: int | None) -> Any:
        kept = self._extras_made().get(part)
        return self._extras_made().setdefault(part, Kept(at_most)) if kept is None else kept

    def _part(self, part: str) -> Any:
        extras = self._extras
        return () if extras is None else extras.get(part, ())

    @property
    def _events(self) -> Any:  # an attribute of the SDK's, as the following
        return self._kept("events", self._limits.max_events)

    @_events.setter
    def _events(self, value: Any) -> None:
        if value:
            self._extras_made()["events"] = value

    @property
    def events(self) -> Sequence[Event]:
        return tuple(self._part("events"))

    @property
    def dropped_events(self) -> int:
        return getattr(self._part("events"), "dropped", 0)

    @property
    def _links(self) -> Any:
        return self._kept("links", self._limits.max_links)

    @_links.setter
    def _links(self, value: Any) -> None:
        if value or getattr(value, "dropped", 0):
            self._extras_made()["links"] = value

    @property
    def links(self) -> Sequence[Link]:
        return tuple(self._part("links"))

    @property
    def dropped_links(self) -> int:
        return getattr(self._part("links"), "dropped", 0)

    def _new_links(self, links: Sequence[Link]) -> Any:
        made = Kept(self._limits.max_links)
        for link in links_of(links):
            kept = link_of(link, self._new_link)
            if kept is not None:
                made.append(kept)
        return made

    def _new_link(self, context: SpanContext, attributes: Attributes) -> Link:
        return Link(context, self._shared.link_rules.frozen(attributes))

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        clean = self._shared.event_rules.frozen(attributes)
        if timestamp is not None and type(timestamp) is not int:
            timestamp = moment(timestamp, "timestamp")
        self._add_event(Event(name=name, attributes=clean, timestamp=timestamp))

    def _add_event(self, event: EventBase) -> None:
        self._append("events", self._events, event, "_add_event")

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        if says_something(context, attributes):
            self._add_link(self._new_link(context, attributes))

    def _add_link(self, link: Link) -> None:
        self._append("links", self._links, link, "_add_link")

    def _append(self, part: str, kept: Any, item: Any, method: str) -> None:
        if self._live is not CLOSED:
            kept.append(item)
            if self._live is not CLOSED:
                return
            now = self._part(part)
            if now is not kept and any(each is item for each in now):
                return  # before the end
        self._tell_late(method)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        kind = type(exception)
        builtin = not kind.__module__ or kind.__module__ == "builtins"
        message, stacktrace = told(exception) if isinstance(exception, BaseException) else (None, "")
        if message is None:
            message = printable(exception)
            _logger.seldom("record_exception needs an exception, not %s; it is told as it is", kind.__name__)
        recorded: dict[str, AnyValue] = {
            names.EXCEPTION_TYPE: kind.__qualname__ if builtin else f"{kind.__module__}.{kind.__qualname__}",
            names.EXCEPTION_MESSAGE: message,
            names.EXCEPTION_STACKTRACE: _stacktrace(exception) if stacktrace is None else stacktrace,
            EXCEPTION_ESCAPED: printable(escaped),
        }
        if attributes is not None:
            try:
                recorded.update(attributes)
            except Exception:
                recorded.update(clean_items(attributes, None)[0])
        self.add_event(name="exception", attributes=recorded, timestamp=timestamp)


def _status_of(code: StatusCode, description: Any) -> Status:
    try:
        return Status(code, description)
    except Exception:  # a description whose truth cannot be told
        _logger.seldom("Invalid status description type, expected str")
        return Status(code)


def _stacktrace(exception: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(exception))
    except Exception:
        return printable(exception)
