"""Flask 2.2 and newer: a server span, its duration, requests under way and sizes of bodies.

Wraps ``Flask.__call__``, which every server and test client calls: applications made before and after,
subclasses and middlewares around ``wsgi_app`` are covered alike, and what happens before routing (a session
that is read from Redis) belongs to the request. The route is known when the request has been dispatched:
until then the span has the method as its name.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from types import GeneratorType
from typing import TYPE_CHECKING, Any, Final

from spanwise import pending
from spanwise.instrumentors._base import Instrumentor
from spanwise.instrumentors._imports import when_imported
from spanwise.instrumentors._patches import Patches
from spanwise.instrumentors._traceback import passed_over
from spanwise.log import Log

if TYPE_CHECKING:
    from spanwise.instrumentors._serving import Observation

__all__ = ["FlaskInstrumentor"]

_logger = Log("spanwise.instrumentors")

_REQUEST: Final = "werkzeug.request"
"""Where werkzeug's Request puts itself: https://werkzeug.palletsprojects.com/en/stable/wrappers/"""


class FlaskInstrumentor(Instrumentor):
    """Traces Flask. Used like any OpenTelemetry instrumentor::

        FlaskInstrumentor().instrument(request_hook=…, response_hook=…, excluded_urls="health,metrics")

    The hooks get what contrib's get: the span and the environment; the span, the status and the headers.
    ``request_memory=True`` measures what a request adds to the process's memory; requests of other threads
    at the same time are in it.
    """

    library = "flask"
    since = (2, 2)
    _observing: _Observing | None = None

    def _instrument(self, **options: Any) -> None:
        self._patches = Patches()
        self._observing = observing = _Observing(options)

        def attach(flask: Any) -> None:
            # The hook stays after uninstrument(), so it asks whether it is still wanted.
            if self._observing is not observing:
                return
            try:
                with self._patches:
                    self._patches.replace(flask.Flask, "__call__", lambda call: _observed(call, observing))
                    flask.got_request_exception.connect(_note, weak=False)
                    self._patches.replace(
                        flask.Flask, "finalize_request", lambda finish: _finished(finish, observing)
                    )
            except Exception as error:
                _logger.warning("Flask is not observed: %r", error)

        when_imported("flask", attach)

    def _uninstrument(self) -> None:
        if self._observing is not None:
            self._observing.end()
        self._observing = None
        self._patches.restore()
        flask = sys.modules.get("flask")
        if flask is not None:
            flask.got_request_exception.disconnect(_note)


class _Observing:
    """One `instrument()`: its observation, made with the first request where telemetry waits for that.

    Attributes:
        observation: None before.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._open = True
        self.observation: Observation | None = None

    def begin(self) -> Observation | None:
        """The observation, from now on there; None where telemetry is about to start on another thread."""
        pending.now()
        if pending.waits():
            return None
        from spanwise.instrumentors._serving import Observation

        # Two first requests at once: each may make one, and one is kept.
        made = self.observation or Observation("flask", __name__, _route, self._options)
        made.calls.open = self._open
        self.observation = self.observation or made
        return self.observation

    def end(self) -> None:
        """Observes nothing any more."""
        self._open = False
        if self.observation is not None:
            from spanwise.instrumentors._wsgi import forget

            self.observation.calls.open = False
            forget()


@passed_over
def _observed(original: Callable[..., Any], observing: _Observing) -> Callable[..., Any]:
    def call(app: Any, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        observation = observing.observation or _begun(observing)
        if observation is None:
            return original(app, environ, start_response)
        # An application that contrib's instrumentor was given by name is that one's.
        # What somebody put on top of ours keeps ours after uninstrument().
        if getattr(app, "_is_instrumented_by_opentelemetry", False) or not observation.calls.open:
            return original(app, environ, start_response)
        return observation.serve(functools.partial(original, app), environ, start_response)

    return call


def _begun(observing: _Observing) -> Observation | None:
    try:
        return observing.begin()
    except Exception as error:
        _logger.seldom("a Flask request is not observed: %r; please report this", error)
        return None


def _serving(environ: Mapping[str, Any]) -> Any:
    from spanwise.instrumentors._serving import Serving

    return Serving.of(environ)


def _note(_app: Any, exception: BaseException | None = None, **_: Any) -> None:
    """Flask makes a 500 of an exception and keeps it to itself; its signal tells of it."""
    import flask

    serving = _serving(flask.request.environ) if flask.has_request_context() else None
    if serving is not None:
        serving.raised(exception)


@passed_over
def _finished(original: Callable[..., Any], observing: _Observing) -> Callable[..., Any]:
    """Nothing else tells that a body whose length is known is made while it is sent.

    Only of generators: a file is left to the server, which may have a quicker way of sending it, and what
    werkzeug makes of its error pages is an iterator too. What an application's own finalize_request makes of
    the answer afterwards is not seen. Nor would Flask's signal tell that, which costs 4 µs a request.
    """

    def finalize_request(*args: Any, **named: Any) -> Any:
        response = original(*args, **named)
        try:
            if isinstance(response.response, GeneratorType):
                import flask

                serving = _serving(flask.request.environ)
                if serving is not None:
                    serving.streamed = True
        except Exception as error:
            if observing.observation is not None:
                observing.observation.calls.warn("look at a response", error)
        return response

    return finalize_request


def _route(environ: Mapping[str, Any]) -> str | None:
    rule = getattr(environ.get(_REQUEST), "url_rule", None)
    if rule is None:
        # No route matched, or a middleware gave the application a copy of the environment.
        import flask

        rule = flask.request.url_rule if flask.has_request_context() else None
    route: str | None = getattr(rule, "rule", None)
    return route
