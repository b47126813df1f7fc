"""The console's REST API, in JSON.

========================  ==========================================================================
``GET /api/summary``      counts, slowest traces, spans by service instance
``GET /api/traces``       newest first; ``service``, ``name``, ``min_duration_ms``, ``errors=1``,
                          ``rating`` (that or worse), ``limit``, ``offset``
``GET /api/traces/{id}``  one trace, its spans in tree order
``GET /api/accounting``   spans stored against spans recorded, by service instance
``GET /api/plugins``      calls, errors, durations, loading and memory by plugin
``GET /healthz``          whether the process lives and its file can be read; needs no token
========================  ==========================================================================

Every answer has an ETag; ``If-None-Match`` gives 304 while nothing has changed, mostly without a query.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from hashlib import blake2b
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from spanwise.console.queries.accounting import account
from spanwise.console.queries.plugins import plugin_costs
from spanwise.console.queries.services import colours, list_services
from spanwise.console.queries.summary import summarise
from spanwise.console.queries.trace import one_trace
from spanwise.console.queries.traces import MAX_LIMIT, RATINGS, TraceFilter, list_traces
from spanwise.console.store import Store

__all__ = ["api_routes", "read_filter"]

_MAX_TEXT: Final = 200
# A century in milliseconds: keeps the comparison within the 64 bits of a BIGINT.
_MAX_DURATION_MS: Final = 3.2e12

_Answer = Callable[[Request], Any]


class _NotFound(Exception):
    """Nothing is stored under the id asked for."""


class _BadQuery(Exception):
    """A query parameter cannot be read."""


def api_routes(store: Store) -> list[Route]:
    """The API's routes, reading from ``store``."""

    def summary(_: Request) -> Any:
        with store.reading() as cursor:
            found = summarise(cursor)
        return asdict(found) | {
            "slowest": [item._asdict() for item in found.slowest],
            "instances": [item._asdict() for item in found.instances],
        }

    def traces(request: Request) -> Any:
        wanted = read_filter(request)
        with store.reading() as cursor:
            services = list_services(cursor)
            return {
                "traces": [asdict(line) for line in list_traces(cursor, wanted)],
                "services": sorted(services),
                "colours": colours(services),
                "limit": wanted.limit,
                "offset": wanted.offset,
            }

    def trace(request: Request) -> Any:
        with store.reading() as cursor:
            found = one_trace(cursor, request.path_params["trace_id"].lower())
            numbers = colours(list_services(cursor))
        if found is None:
            raise _NotFound("no span of this trace is stored")
        return asdict(found) | {"colours": {service: numbers.get(service, 0) for service in found.services}}

    def accounting(_: Request) -> Any:
        with store.reading() as cursor:
            return {
                "instances": [asdict(entry) | {"missing": entry.missing} for entry in account(cursor)],
            }

    def plugins(_: Request) -> Any:
        with store.reading() as cursor:
            return {"plugins": [cost._asdict() for cost in plugin_costs(cursor)]}

    def healthz(_: Request) -> Response:
        with store.reading() as cursor:
            cursor.execute("select 1").fetchone()
        return JSONResponse({"status": "ok"})

    return [
        Route("/api/summary", _cached(store, summary)),
        Route("/api/traces", _cached(store, traces)),
        Route("/api/traces/{trace_id}", _cached(store, trace)),
        Route("/api/accounting", _cached(store, accounting)),
        Route("/api/plugins", _cached(store, plugins)),
        Route("/healthz", healthz),
    ]


def read_filter(request: Request) -> TraceFilter:
    """The filter in a request's query; what is left out filters nothing.

    Raises:
        _BadQuery: a number is none, or negative; a rating is none of ``RATINGS``.
    """
    query = request.query_params
    rating = query.get("rating", "")
    if rating and rating not in RATINGS:
        raise _BadQuery(f"{rating[:40]!r} is no rating; there are {', '.join(RATINGS)}")
    return TraceFilter(
        service=query.get("service", "")[:_MAX_TEXT],
        name=query.get("name", "")[:_MAX_TEXT],
        min_duration_ms=min(_number(query.get("min_duration_ms"), 0.0), _MAX_DURATION_MS),
        errors_only=query.get("errors", "") in ("1", "true", "on"),
        rating=rating,
        limit=int(min(_number(query.get("limit"), 100.0), MAX_LIMIT)),
        offset=int(min(_number(query.get("offset"), 0.0), 2**31)),
    )


def _number(text: str | None, default: float) -> float:
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise _BadQuery(f"{text[:40]!r} is not a number") from None
    if not math.isfinite(value) or value < 0:
        raise _BadQuery(f"{text[:40]!r} is not a number of 0 or more")
    return value


def _cached(store: Store, answer: _Answer) -> Callable[[Request], Response]:
    """Plain functions, so Starlette runs them in its thread pool and a slow query blocks no receiver."""

    def endpoint(request: Request) -> Response:
        # Read before the query: at worst the next poll asks again for what it has.
        generation = str(store.generation)
        known_generation, _, known_digest = request.headers.get("if-none-match", "").strip('"').partition("-")
        if known_digest and known_generation == generation:
            return Response(status_code=304, headers={"etag": f'"{generation}-{known_digest}"'})
        try:
            found = answer(request)
        except _NotFound as error:
            return JSONResponse({"error": str(error)}, 404)
        except _BadQuery as error:
            return JSONResponse({"error": str(error)}, 400)
        body = json.dumps(found, allow_nan=False, separators=(",", ":")).encode()
        digest = blake2b(body, digest_size=12).hexdigest()
        headers = {"etag": f'"{generation}-{digest}"'}
        if digest == known_digest:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)

    return endpoint
