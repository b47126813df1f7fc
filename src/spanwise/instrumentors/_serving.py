"""A WSGI request from its first to its last byte: span, durations, sizes; any framework.

Conventions: https://opentelemetry.io/docs/specs/semconv/http/http-metrics/#http-server
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from opentelemetry.instrumentation import propagators
from opentelemetry.metrics import get_meter
from opentelemetry.propagate import extract, get_global_textmap
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import SpanKind, get_tracer
from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.context import REQUEST_KEY, SPAN_KEY, attach_context, detach_context, get_context
from spanwise.instrumentors._call import NO_CALL, Call, Calls
from spanwise.instrumentors._request import Request
from spanwise.instrumentors._wsgi import captured_headers, excluded_urls, full_url, headers_of, request_of
from spanwise.instruments import make

__all__ = ["Observation", "Serving"]

_SCHEMA: Final = "https://opentelemetry.io/schemas/1.37.0"
_HELD_AS: Final = "spanwise.request"
_W3C: Final = frozenset(("traceparent", "tracestate", "baggage"))
_OF_ACTIVE: Final = (names.HTTP_REQUEST_METHOD, names.URL_SCHEME)

Hook = Callable[..., None]


class Observation:
    """Observes the requests of a framework. What does not change from one to the next is looked up once.

    Args:
        framework: its name, as in the deny-list.
        scope: the instrumentor's module.
        route: finds the route in a dispatched request's environment; None where none matched.
        options: ``tracer_provider``, ``meter_provider``, ``request_hook``, ``response_hook``,
            ``excluded_urls``.
    """

    def __init__(
        self,
        framework: str,
        scope: str,
        route: Callable[[Mapping[str, Any]], str | None],
        options: Mapping[str, Any],
    ) -> None:
        meter = get_meter(scope, meter_provider=options.get("meter_provider"), schema_url=_SCHEMA)
        tracer = get_tracer(scope, tracer_provider=options.get("tracer_provider"), schema_url=_SCHEMA)

        self.calls = Calls(framework, tracer, make(meter, names.HTTP_SERVER_REQUEST_DURATION))
        self.route = route
        self.request_size = make(meter, names.HTTP_SERVER_REQUEST_BODY_SIZE)
        self.response_size = make(meter, names.HTTP_SERVER_RESPONSE_BODY_SIZE)
        self.active = make(meter, names.HTTP_SERVER_ACTIVE_REQUESTS)
        self.request_hook: Hook | None = options.get("request_hook")
        self.response_hook: Hook | None = options.get("response_hook")
        self.excluded = excluded_urls(framework, options.get("excluded_urls"))
        self.request_headers = captured_headers("REQUEST")
        self.response_headers = captured_headers("RESPONSE")
        # To find out that there is nothing to extract takes the W3C propagators 5 µs. Others may read more
        # than the fields that they name.
        fields = get_global_textmap().fields
        self.carriers = tuple(map(_variable, fields)) if fields <= _W3C else None

    def serve(
        self, application: Callable[..., Any], environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Any:
        """Calls a WSGI application, observed.

        Args:
            application: of two arguments.
            environ: the request (PEP 3333).
            start_response: the server's.

        Returns:
            What the application does, or a body that ends the span when it is done.
        """
        serving = self._begin(environ)
        if serving is None:
            return application(environ, start_response)

        def respond(status: str, headers: list[tuple[str, str]], *info: Any) -> Any:
            try:
                serving.respond(status, headers)
            except Exception as error:
                self.calls.warn("read a response", error)
            return start_response(status, headers, *info)

        token = attach_context(serving.context)
        try:
            body = application(environ, respond)
        except BaseException as error:
            serving.error = error
            serving.end()
            raise
        finally:
            _leave(token)
        if serving.streams:
            return _Body(body, serving)
        serving.end()
        return body

    def _begin(self, environ: dict[str, Any]) -> Serving | None:
        try:
            if self.excluded is not None and self.excluded(full_url(environ)):
                return None
            request = request_of(environ)
            if self.request_headers is not None:
                request.attributes.update(self.request_headers(headers_of(environ)))
            context = get_context()
            outer: Any = context.get(SPAN_KEY)
            # Within another span (an ASGI server's, a test's) the request is a part of that.
            within = outer is not None and outer.get_span_context().is_valid
            if not within and (self.carriers is None or any(name in environ for name in self.carriers)):
                context = extract(environ, context, _GETTER)
            call = self.calls.start(
                request.method,
                request.attributes,
                kind=SpanKind.INTERNAL if within else SpanKind.SERVER,
                metric_attributes=request.labels,
                context=context,
            )
            if call is NO_CALL:
                return None
            serving = environ[_HELD_AS] = Serving(self, call, request.method, request.labels, environ)
        except Exception as error:
            self.calls.warn("observe a request", error)
            return None
        if self.request_hook is not None:
            try:
                self.request_hook(call.span, environ)
            except Exception as error:
                self.calls.warn("call the request hook", error)
        return serving


class Serving:
    """A request under way.

    Attributes:
        call: its span and duration.
        context: in which its span is the current one.
        error: what the application raised.
        status: the answer's; 0 before there is one.
        size: the answer's Content-Length.
    """

    __slots__ = (
        "_ended",
        "_environ",
        "_labels",
        "_method",
        "_observation",
        "_route",
        "call",
        "context",
        "error",
        "size",
        "status",
    )

    def __init__(
        self,
        observation: Observation,
        call: Call,
        method: str,
        labels: dict[str, AttributeValue],
        environ: Mapping[str, Any],
    ) -> None:
        self._observation, self._method, self._labels = observation, method, labels
        self._environ = environ
        self._ended = False
        self._route: str | None = None
        self.call = call
        # Its spans' instrumentors note there what one request does many times.
        self.context = (
            call.within({REQUEST_KEY: Request(call.span)}) if call.span.is_recording() else call.current
        )
        self.error: BaseException | None = None
        self.status = 0
        self.size: int | None = None
        observation.active.add(1, {name: labels[name] for name in _OF_ACTIVE})

    @staticmethod
    def of(environ: Mapping[str, Any]) -> Serving | None:
        """The request under way of an environment."""
        return environ.get(_HELD_AS)

    def raised(self, error: BaseException | None) -> None:
        """Takes note of what the application raised, while its request is still at hand."""
        self.error = error
        self._route = self._observation.route(self._environ)

    def respond(self, status: str, headers: list[tuple[str, str]]) -> None:
        """Takes note of what the application answers."""
        self.status = int(status[:3])
        # Now: a framework may take its request away from the environment when it is done with it.
        self._route = self._observation.route(self._environ)
        for name, value in headers:
            if name.lower() == "content-length":
                self.size = int(value)
                break
        observation = self._observation
        if observation.response_headers is not None:
            self.call.span.set_attributes(observation.response_headers(headers))
        propagator = propagators.get_global_response_propagator()  # type: ignore[no-untyped-call]
        if propagator is not None:
            propagator.inject(headers, context=self.context, setter=_Append)
        if observation.response_hook is not None:
            observation.response_hook(self.call.span, status, headers)

    @property
    def streams(self) -> bool:
        """Whether the body is made while it is sent: it has no length, and there is one."""
        return self.size is None and self.status not in (204, 304) and self._method != "HEAD"

    def end(self) -> None:
        """Ends span and metrics; later calls do nothing."""
        if self._ended:
            return
        self._ended = True
        observation, span, found = self._observation, self.call.span, dict[str, AttributeValue]()
        try:
            observation.active.add(-1, {name: self._labels[name] for name in _OF_ACTIVE})
            if self.status:
                found[names.HTTP_RESPONSE_STATUS_CODE] = self.status
            if self._route is not None:
                found[names.HTTP_ROUTE] = self._route
                span.update_name(f"{self._method} {self._route}")
            span.set_attributes(found)
            labels = {**self._labels, **found}
            sent = self._environ.get("CONTENT_LENGTH")
            if sent:
                observation.request_size.record(int(sent), labels)
            if self.size is not None:
                observation.response_size.record(self.size, labels)
        except Exception as error:
            observation.calls.warn("describe a request", error)
        if self.error is not None:
            self.call.fail(self.error, attributes=found)
        elif self.status >= 500:
            self.call.fail(None, error_type=str(self.status), message="", attributes=found)
        else:
            self.call.end(found)


class _Body:
    """A body that is made while it is sent: its parts are made within the request's span."""

    def __init__(self, body: Iterable[bytes], serving: Serving) -> None:
        self._body = body
        self._parts: Iterator[bytes] | None = None
        self._serving = serving

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        token = attach_context(self._serving.context)
        try:
            if self._parts is None:
                self._parts = iter(self._body)
            return next(self._parts)
        except StopIteration:
            self._serving.end()
            raise
        except BaseException as error:
            self._serving.error = error
            self._serving.end()
            raise
        finally:
            _leave(token)

    def close(self) -> None:
        """Called by the server in any case, also when the client is gone."""
        token = attach_context(self._serving.context)
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            _leave(token)
            self._serving.end()


def _leave(token: Any) -> None:
    # A server may have the parts of a body made in several contexts.
    with contextlib.suppress(ValueError):
        detach_context(token)


class _FromEnviron(Getter[Mapping[str, Any]]):
    def get(self, carrier: Mapping[str, Any], key: str) -> list[str] | None:
        value = carrier.get(_variable(key))
        return None if value is None else [value]

    def keys(self, carrier: Mapping[str, Any]) -> list[str]:
        return [name for name, _ in headers_of(carrier)]


_GETTER: Final = _FromEnviron()


class _Append:
    """Puts a header into a WSGI response."""

    @staticmethod
    def set(carrier: list[tuple[str, str]], key: str, value: str) -> None:
        carrier.append((key, value))


def _variable(field: str) -> str:
    return "HTTP_" + field.upper().replace("-", "_")
