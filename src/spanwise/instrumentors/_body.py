"""A response's body that is made while it is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from opentelemetry.context import Context

from spanwise.context import attach_context, detach_context, get_context
from spanwise.instrumentors._traceback import passed_over

__all__ = ["Body", "leave"]


class Body:
    """Makes the parts of a body within its request's context, and tells when it is done.

    Args:
        body: the application's (PEP 3333).
        context: in which its first part is made. Each further one is made in what the part before left:
            a span that the application opened in between is still the current one.
        done: called once, with what the application raised, when the last part was made or the server has
            closed the body.
        dropped: called instead where the server dropped it without closing it, from a finalizer.
    """

    __slots__ = ("_body", "_context", "_done", "_dropped", "_parts")

    def __init__(
        self,
        body: Iterable[bytes],
        context: Context,
        done: Callable[[BaseException | None], None],
        dropped: Callable[[], None],
    ) -> None:
        self._body = body
        self._context = context
        self._done: Callable[[BaseException | None], None] | None = done
        self._dropped = dropped
        self._parts: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    @passed_over
    def __next__(self) -> bytes:
        token = attach_context(self._context)
        try:
            if self._parts is None:
                self._parts = iter(self._body)
            return next(self._parts)
        except StopIteration:
            self._end(None)
            raise
        except BaseException as error:
            self._end(error)
            raise
        finally:
            self._context = get_context()
            leave(token)

    @passed_over
    def close(self) -> None:
        """Called by the server in any case, also when the client is gone."""
        try:
            self._close()
        finally:
            self._end(None)

    @passed_over
    def _close(self) -> None:
        token = attach_context(self._context)
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            leave(token)

    def _end(self, error: BaseException | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(error)

    @passed_over
    def __del__(self) -> None:
        # A generator that is finalized resets the context to what it found: the ended request's. Here, that
        # is undone; anywhere else, every later request of this thread would be a part of this one.
        if self._done is not None:
            self._done = None
            try:
                self._close()
            finally:
                self._dropped()


def leave(token: Any) -> None:
    """Restores the context before ``attach_context``."""
    # A server may have the parts of a body made in several contexts.
    try:  # noqa: SIM105 - suppress() costs 0.5 µs, and this is done for every request
        detach_context(token)
    except ValueError:
        pass
