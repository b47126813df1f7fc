"""What telemetry says of an exception."""

from __future__ import annotations

from opentelemetry.trace import Span, Status, StatusCode

from spanwise import names
from spanwise.privacy.described import message_of, type_name

__all__ = ["message_of", "tell", "told_message", "type_name"]


def tell(span: Span, error: BaseException | None, message: str | None) -> None:
    """Gives a span the status ERROR, and the exception as an event.

    Args:
        span: is recording.
        error: what was raised; None where an answer said so.
        message: instead of the exception's; then no stack trace is told, which would repeat that.
    """
    from spanwise.privacy.exceptions import redacted  # most processes that start see no exception

    safe = redacted(error) if error is not None and message is None else None
    said = (message_of(error) if safe is None else safe.message) if message is None else message
    span.set_status(Status(StatusCode.ERROR, said or None))
    if error is None:
        return
    if safe is None and message is None:
        span.record_exception(error)
        return
    event = {names.EXCEPTION_TYPE: type_name(error), names.EXCEPTION_MESSAGE: said}
    if safe is not None:
        event[names.EXCEPTION_STACKTRACE] = safe.stacktrace
    span.add_event(names.EXCEPTION_EVENT, event)


def told_message(error: BaseException) -> str:
    """What may be told of an exception's message where its stack trace is not."""
    from spanwise.privacy import exceptions

    return exceptions.told_message(error)
