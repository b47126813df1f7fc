"""One request of an HTTP client, from its sending to its answer's headers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import isawaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from opentelemetry.context import Context

from spanwise import names
from spanwise.context import HTTP_SUPPRESSION_KEY, SPAN_KEY, attach_context, get_context
from spanwise.instrumentors._abandoned import later
from spanwise.instrumentors._body import leave
from spanwise.instrumentors._call import NO_CALL, Call
from spanwise.instrumentors._failure import type_name
from spanwise.instrumentors._http import Attributes, length_of

if TYPE_CHECKING:
    from spanwise.instrumentors._http_client import Client

__all__ = ["Answer", "Exchange", "HeaderMap", "Hook"]

# As http.client and urllib3 tell it, and as httpx does.
_VERSIONS: Final[Mapping[Any, str]] = {
    10: "1.0",
    11: "1.1",
    20: "2",
    30: "3",
    b"HTTP/1.0": "1.0",
    b"HTTP/1.1": "1.1",
    b"HTTP/2": "2",
    b"HTTP/3": "3",
}

Hook = Callable[..., Any]


class HeaderMap(Protocol):
    """Headers as every library gives them; names in any case."""

    def get(self, name: str, /) -> Any: ...
    def items(self) -> Iterable[tuple[str, str]]: ...


Answer = tuple[int, object, HeaderMap]
"""A response's status, its protocol's version as the library tells it, and its headers."""


Self = TypeVar("Self", bound="Exchange")


class Exchange:
    """A request under way. As a context manager it makes its span the current one, and ends it.

    Within it no other instrumentor observes HTTP: its library may run on another one's.

    Attributes:
        client: whose it is.
        parent: the context in which it began.
        resends: how often the request was sent before; counts on when it is sent again.
        goes_on: an answer was taken, and the library sends the request again because of it.
        ended: its span has ended.
        over: its method has returned.
        sends: another library carries it out now.
        hidden: it is not told, since its URL is excluded; nor what carries it out.
    """

    __slots__ = (
        "_call",
        "_found",
        "_labels",
        "_received",
        "_size",
        "_taken",
        "_token",
        "_within",
        "client",
        "ended",
        "goes_on",
        "hidden",
        "over",
        "parent",
        "resends",
        "sends",
    )

    def __init__(
        self, client: Client, call: Call, parent: Context, labels: Attributes, size: Any, resends: int
    ) -> None:
        self.client = client
        self.parent = parent
        self.resends = resends
        self.goes_on = False
        self.hidden = self.ended = call is NO_CALL
        self.over = self.sends = False
        self._call = call
        self._labels = labels
        self._size = size
        self._found: Attributes = {}
        self._received: Any = None
        self._taken: object = None
        self._token: Any = None
        self._within: Context | None = None

    def __enter__(self: Self) -> Self:
        within = {**self.parent, HTTP_SUPPRESSION_KEY: self}
        if not self.hidden:
            within[SPAN_KEY] = self._call.span
        self._within = Context(within)
        self._token = attach_context(self._within)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Whoever has a copy of the context (a thread that was started within) is free of it.
        self.over = True
        # A finalizer runs in a context that is not its own, and that must stay.
        if not isinstance(error, GeneratorExit) or get_context() is self._within:
            leave(self._token)
        self._token = self._within = None
        if error is None:
            self.end()
        else:
            self.fail(error)
        self._taken = None

    def ask(self, hook: Hook | None, *arguments: Any) -> None:
        """Calls a hook of the user's with the span and the arguments."""
        if hook is None or self.ended:
            return
        try:
            hook(self._call.span, *arguments)
        except Exception as error:
            self.client.calls.warn("call a hook", error)

    async def ask_async(self, hook: Hook | None, *arguments: Any) -> None:
        """The same; what the hook returns is awaited where it can be, as a coroutine function's is."""
        if hook is None or self.ended:
            return
        try:
            done = hook(self._call.span, *arguments)
            if isawaitable(done):
                await done
        except Exception as error:
            self.client.calls.warn("call a hook", error)

    def inject(self, carrier: Any) -> None:
        """Tells the server of the trace, as the global propagator does.

        A ``traceparent`` that is there already gives way: it is the one of the hop before, or one that
        leaves this span out of the trace.
        """
        if self.hidden:
            return
        try:
            self.client.outgoing.put(carrier, get_context(), self._call.span)
        except Exception as error:
            self.client.calls.warn("put the trace into a request's headers", error)

    def take(self, response: Any, *, goes_on: bool = False) -> bool:
        """Takes note of an answer; a later one takes its place.

        Args:
            response: the library's.
            goes_on: the library may send the request again because of it.

        Returns:
            Whether there is something new in it.
        """
        if self.ended:
            return False
        self.goes_on = goes_on
        if response is self._taken:
            return False
        self._taken = response
        client = self.client
        try:
            status, version, headers = client.read(response)
            self._note(status, version)
            # The length that a HEAD's answer tells is that of the body it does not have.
            bodiless = self._labels[names.HTTP_REQUEST_METHOD] == "HEAD" or status == 304
            self._received = None if bodiless else headers.get("Content-Length")
            if client.response_headers is not None:
                self._call.span.set_attributes(client.response_headers(headers.items()))
        except Exception as error:
            client.calls.warn("read a response", error)
        return True

    def _note(self, status: int, version: object) -> None:
        self._found = {names.HTTP_RESPONSE_STATUS_CODE: status}
        known = _VERSIONS.get(version)
        if known:
            self._found[names.NETWORK_PROTOCOL_VERSION] = known

    def again(self, status: int | None, error: BaseException | None) -> None:
        """Takes note of how an attempt ended, where the library tells no more of it before the next one.

        Args:
            status: the answer's; None if there was none.
            error: why there was none.
        """
        if status is not None:
            self._note(status, None)
        if error is not None:
            self.fail(error)
        self.goes_on = True

    def sent_again(self, times: int) -> None:
        """Says of the answered request that it was sent before, within the same call."""
        if times and not self.ended:
            self._call.span.set_attribute(names.HTTP_REQUEST_RESEND_COUNT, self.resends + times)

    def end(self) -> None:
        """Ends with the answer that was taken; later calls do nothing."""
        if self.ended:
            return
        self.ended = True
        found = self._found
        status: Any = found.get(names.HTTP_RESPONSE_STATUS_CODE, 0)
        failure = str(status) if status >= 400 else ""
        if self._size is not None or self._received is not None:
            self._measure({**found, names.ERROR_TYPE: failure} if failure else found)
        if failure:
            self._call.fail(None, error_type=failure, message="", attributes=found)
            return
        try:
            self._call.span.set_attributes(found)
        except Exception as error:
            self.client.calls.warn("describe a request", error)
        self._call.end(found)

    def fail(self, error: BaseException) -> None:
        """Ends with what the library raised; later calls do nothing."""
        if self.ended:
            return
        self.ended = True
        failed: Attributes = {**self._found, names.ERROR_TYPE: type_name(error)}
        if isinstance(error, GeneratorExit):
            later(lambda: self._measure(failed))  # a finalizer: as `Call.fail` says
        else:
            self._measure(failed)
        self._call.fail(error, attributes=self._found)

    def _measure(self, found: Attributes) -> None:
        """Records the sizes of the bodies."""
        sent, received = length_of(self._size), length_of(self._received)
        if sent is None and received is None:
            return
        try:
            labels = {**self._labels, **found}
            if sent is not None:
                self.client.request_size.record(sent, labels)
            if received is not None:
                self.client.response_size.record(received, labels)
        except Exception as error:
            self.client.calls.warn("measure a request", error)
