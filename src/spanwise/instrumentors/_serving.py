"""A WSGI request, until its answer is made: span, duration, sizes; any framework.

Conventions: https://opentelemetry.io/docs/specs/semconv/http/http-metrics/#http-server
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from spanwise import names
from spanwise.context import NOWHERE, REQUEST_KEY, SPAN_KEY, UNOBSERVED_PATHS, attach_context, get_context
from spanwise.fixed import Fixed
from spanwise.instrumentors._body import Body, leave
from spanwise.instrumentors._call import NO_CALL, Call
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._carrier import Incoming, tell
from spanwise.instrumentors._failure import type_name
from spanwise.instrumentors._http import captured_headers, excluded_urls, length_of
from spanwise.instrumentors._request import Request
from spanwise.instrumentors._scope import scope_of
from spanwise.instrumentors._traceback import passed_over
from spanwise.instrumentors._wsgi import Kind, full_url, headers_of, request_of
from spanwise.instruments import make, recorder
from spanwise.meters.resident import resident_bytes

__all__ = ["Observation", "Serving"]

_HELD_AS: Final = "spanwise.request"

Hook = Callable[..., None]


class Observation:
    """Observes the requests of a framework. What does not change from one to the next is looked up once.

    Args:
        framework: its name, as in the deny-list.
        scope: the instrumentor's module.
        route: finds the route in a dispatched request's environment; None where none matched.
        options: ``tracer_provider``, ``meter_provider``, ``request_hook``, ``response_hook``,
            ``excluded_urls``, ``request_memory``.
    """

    def __init__(
        self,
        framework: str,
        scope: str,
        route: Callable[[Mapping[str, Any]], str | None],
        options: Mapping[str, Any],
    ) -> None:
        tracer, meter = scope_of(scope, options)

        self.calls = Calls(framework, tracer, make(meter, names.HTTP_SERVER_REQUEST_DURATION))
        self.route = route
        self.request_size = make(meter, names.HTTP_SERVER_REQUEST_BODY_SIZE)
        self.response_size = make(meter, names.HTTP_SERVER_RESPONSE_BODY_SIZE)
        self.active = make(meter, names.HTTP_SERVER_ACTIVE_REQUESTS)
        self.request_hook: Hook | None = options.get("request_hook")
        self.response_hook: Hook | None = options.get("response_hook")
        self.excluded = excluded_urls(framework, options.get("excluded_urls"))
        self.request_headers = captured_headers("SERVER", "REQUEST")
        self.response_headers = captured_headers("SERVER", "RESPONSE")
        self._incoming = Incoming()
        # How much more memory the process has after a request: asked for, as it costs 12 µs a request.
        self.memory = make(meter, names.HTTP_SERVER_REQUEST_MEMORY) if options.get("request_memory") else None

    @passed_over
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
        serving = self._begin(environ, start_response)
        if serving is None:
            return application(environ, start_response)
        token = attach_context(serving.context)
        try:
            body = application(environ, serving.respond)
        except BaseException as error:
            serving.end(error)
            raise
        finally:
            leave(token)
        if (serving.streamed or serving.size is None) and serving.has_body:
            return Body(body, serving.context, serving.end, serving.dropped)
        serving.end()
        return body

    def _begin(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Serving | None:
        try:
            if environ.get("PATH_INFO") in UNOBSERVED_PATHS:
                return None
            if self.excluded is not None and self.excluded(full_url(environ)):
                return None
            kind, attributes = request_of(environ)
            if self.request_headers is not None:
                attributes.update(self.request_headers(headers_of(environ)))
            context = get_context()
            outer: Any = context.get(SPAN_KEY)
            # Within another span (an ASGI server's, a test's) the request is a part of that.
            within = outer is not None and outer.get_span_context().is_valid
            if not within:
                context = self._incoming.context(environ, context)
            # An application within an application: one request, counted once.
            around = Serving.of(environ)
            call = self.calls.start(
                kind.title,
                attributes,
                kind=SpanKind.INTERNAL if within else SpanKind.SERVER,
                metric_attributes=kind.labels if around is None else None,
                context=context,
            )
            if call is NO_CALL:
                return None
            serving = environ[_HELD_AS] = Serving(self, call, kind, environ, around, start_response)
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
        status: the answer's; 0 before there is one.
        size: the answer's Content-Length.
        streamed: whether the framework says that the body is made while it is sent.
    """

    __slots__ = (
        "_around",
        "_ended",
        "_environ",
        "_error",
        "_kind",
        "_observation",
        "_resident",
        "_route",
        "_start_response",
        "call",
        "context",
        "size",
        "status",
        "streamed",
    )

    def __init__(
        self,
        observation: Observation,
        call: Call,
        kind: Kind,
        environ: dict[str, Any],
        around: Serving | None,
        start_response: Callable[..., Any],
    ) -> None:
        self._observation, self._kind = observation, kind
        self._start_response = start_response
        self._environ, self._around = environ, around
        self._ended = False
        self._error: BaseException | None = None
        self._route: str | None = None
        self.call = call
        # Its spans' instrumentors note there what one request does many times.
        counted = around is None and call.span.is_recording()
        noted = {REQUEST_KEY: Request(call.span)} if counted else {}
        # An exemplar of a request's duration leads to the request.
        call.measured_in = self.context = Context({**call.context, SPAN_KEY: call.span, **noted})
        self.status = 0
        self.size: int | None = None
        self.streamed = False
        self._count(1)
        self._resident = 0 if observation.memory is None else resident_bytes()

    @staticmethod
    def of(environ: Mapping[str, Any]) -> Serving | None:
        """The request under way of an environment."""
        return environ.get(_HELD_AS)

    def _count(self, more: int) -> None:
        if self._around is None:
            recorder(self._observation.active, self._kind.active)(more, NOWHERE)

    def raised(self, error: BaseException | None) -> None:
        """Takes note of what the application raised, while its request is still at hand."""
        self._error = error
        self._route = self._observation.route(self._environ)

    def respond(self, status: str, headers: list[tuple[str, str]], *info: Any) -> Any:
        """Takes note of what the application answers, and passes it on to the server."""
        observation = self._observation
        try:
            self.status = int(status[:3])
            # Now: a framework may take its request away from the environment when it is done with it.
            self._route = observation.route(self._environ)
            for name, value in headers:
                if name.lower() == "content-length":
                    self.size = length_of(value)
                    break
            if observation.response_headers is not None:
                self.call.span.set_attributes(observation.response_headers(headers))
            tell(headers, self.context)
            if observation.response_hook is not None:
                observation.response_hook(self.call.span, status, headers)
        except Exception as error:
            observation.calls.warn("read a response", error)
        return self._start_response(status, headers, *info)

    @property
    def has_body(self) -> bool:
        """Whether the answer may have one (RFC 9110, 6.4.1)."""
        return self.status not in (204, 304) and self._kind.title != "HEAD"

    def end(self, error: BaseException | None = None) -> None:
        """Ends span and metrics; later calls do nothing.

        Args:
            error: what the application raised, where it did not tell of it before.
        """
        if self._ended:
            return
        self._ended = True
        error = error or self._error
        answered = self._kind.answered(self.status, self._route)
        try:
            # What stays there would be a cycle: the garbage collector's work, a request's memory until then.
            if self._around is None:
                self._environ.pop(_HELD_AS, None)
            else:
                self._environ[_HELD_AS] = self._around
            self._error = None
            self._count(-1)
            span = self.call.span
            if answered.name is not None:
                span.update_name(answered.name)
            span.set_attributes(answered.found)
        except Exception as problem:
            self._observation.calls.warn("describe a request", problem)
        refused = str(self.status) if self.status >= 500 else ""
        failure = refused if error is None else type_name(error)
        self._measure(Fixed({**answered.sizes, names.ERROR_TYPE: failure}) if failure else answered.sizes)
        if error is not None:
            self.call.fail(error, attributes=answered.found)
        elif failure:
            self.call.fail(None, error_type=failure, message="", attributes=answered.found)
        else:
            self.call.end(labels=answered.labels if self._around is None else None)

    def dropped(self) -> None:
        """Has a finalizer's request ended where that is safe."""
        self.call.drop(self.end)

    def _measure(self, labels: Fixed) -> None:
        """Records the sizes of the bodies."""
        environ, self._environ = self._environ, {}
        if self._around is not None:
            return
        try:
            given = environ.get("CONTENT_LENGTH")
            sent = length_of(given) if given else None
            if sent is not None:
                self._observation.request_size.record(sent, labels, self.context)
            if self.size is not None:
                recorder(self._observation.response_size, labels)(self.size, self.context)
            if self._observation.memory is not None:
                grown = resident_bytes() - self._resident
                self.call.span.set_attribute(names.HTTP_SERVER_REQUEST_MEMORY.name, grown)
                self._observation.memory.record(max(0, grown), labels, self.context)
        except Exception as problem:
            self._observation.calls.warn("measure a request", problem)
