"""redis-py 4.6 and newer: a span and a duration for each command, pipeline and transaction.

Synchronous and asyncio clients alike, made before and after, of one server, of a cluster or found by
Sentinel. A subscriber makes no spans: waiting for messages is no operation. Nothing of redis-py is imported
here: its classes are instrumented when the application imports it.
"""

from __future__ import annotations

from typing import Any

from spanwise import names
from spanwise.instrumentors._abandoned import end_abandoned
from spanwise.instrumentors._base import Instrumentor
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._database import conventions
from spanwise.instrumentors._imports import when_imported
from spanwise.instrumentors._redis_answer import Answers, Targets
from spanwise.instrumentors._redis_info import Servers, servers_of
from spanwise.instrumentors._redis_observer import Observer
from spanwise.instrumentors._redis_shape import Patches
from spanwise.instrumentors._scope import scope_of
from spanwise.instruments import make

__all__ = ["RedisInstrumentor"]


class RedisInstrumentor(Instrumentor):
    """Traces redis-py. Used like any OpenTelemetry instrumentor::

        RedisInstrumentor().instrument(tracer_provider=…, meter_provider=…)

    Clients need not be named: all of the process are observed. Options, besides the providers:

    * ``request_hook(span, client, args, options)`` is called before a command is sent,
    * ``response_hook(span, client, response)`` after a command or a pipeline has been answered,
    * ``info=False`` leaves out what the servers' INFO tells.
    """

    library = "redis"
    since = (4, 6)
    _observer: Observer | None = None
    _servers: Servers | None = None
    _patches: Patches | None = None

    def _instrument(self, **kwargs: Any) -> None:
        tracer, meter = scope_of(__name__, kwargs)
        calls = Calls("redis", tracer, make(meter, names.DB_CLIENT_OPERATION_DURATION))
        self._servers = None
        if kwargs.get("info", True):
            self._servers = servers_of(meter)
            self._servers.begin()
        targets = Targets(calls)
        observer = Observer(
            calls,
            conventions(),
            self._servers,
            targets,
            request_hook=kwargs.get("request_hook"),
            response_hook=kwargs.get("response_hook"),
        )
        self._observer = observer

        def attach(_module: Any) -> None:
            # The hook stays after uninstrument(), so it asks whether it is still wanted. What it raises
            # would fail the application's import.
            if self._observer is not observer:
                return
            patches = Patches()
            try:
                patches.make(observer, targets, Answers(calls))
                self._patches = patches
            except Exception as error:
                patches.undo()
                calls.warn("replace redis-py's methods", error)

        # Runs at once where redis is imported already.
        when_imported("redis", attach)

    def _uninstrument(self) -> None:
        if self._patches is not None:
            self._patches.undo()
        if self._observer is not None:
            self._observer.close()
        if self._servers is not None:
            self._servers.close()
        self._observer = self._servers = self._patches = None
        end_abandoned()
