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
from typing import Any, Final

from spanwise.instrumentors._base import Instrumentor
from spanwise.instrumentors._imports import when_imported
from spanwise.instrumentors._patches import Patches
from spanwise.instrumentors._serving import Observation, Serving
from spanwise.instrumentors._traceback import passed_over
from spanwise.instrumentors._wsgi import forget

__all__ = ["FlaskInstrumentor"]

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
    _observation: Observation | None = None

    def _instrument(self, **options: Any) -> None:
        self._patches = Patches()
        self._observation = observation = Observation("flask", __name__, _route, options)

        def attach(flask: Any) -> None:
            # The hook stays after uninstrument(), so it asks whether it is still wanted.
            if self._observation is not observation:
                return
            try:
                with self._patches:
                    self._patches.replace(flask.Flask, "__call__", lambda call: _observed(call, observation))
                    flask.got_request_exception.connect(_note, weak=False)
                    self._patches.replace(
                        flask.Flask, "finalize_request", lambda finish: _finished(finish, observation)
                    )
            except Exception as error:
                observation.calls.warn("wrap Flask", error)

        when_imported("flask", attach)

    def _uninstrument(self) -> None:
        if self._observation is not None:
            self._observation.calls.open = False
        self._observation = None
        self._patches.restore()
        forget()
        flask = sys.modules.get("flask")
        if flask is not None:
            flask.got_request_exception.disconnect(_note)


@passed_over
def _observed(original: Callable[..., Any], observation: Observation) -> Callable[..., Any]:
    def call(app: Any, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        # An application that contrib's instrumentor was given by name is that one's.
        # What somebody put on top of ours keeps ours after uninstrument().
        if getattr(app, "_is_instrumented_by_opentelemetry", False) or not observation.calls.open:
            return original(app, environ, start_response)
        return observation.serve(functools.partial(original, app), environ, start_response)

    return call


def _note(_app: Any, exception: BaseException | None = None, **_: Any) -> None:
    """Flask makes a 500 of an exception and keeps it to itself; its signal tells of it."""
    import flask

    serving = Serving.of(flask.request.environ) if flask.has_request_context() else None
    if serving is not None:
        serving.raised(exception)


@passed_over
def _finished(original: Callable[..., Any], observation: Observation) -> Callable[..., Any]:
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

                serving = Serving.of(flask.request.environ)
                if serving is not None:
                    serving.streamed = True
        except Exception as error:
            observation.calls.warn("look at a response", error)
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
