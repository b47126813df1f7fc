"""The console as one ASGI application."""

from __future__ import annotations

import duckdb
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from spanwise.console.api import api_routes
from spanwise.console.guard import Guard
from spanwise.console.receive import OTLP_PATHS, otlp_routes
from spanwise.console.schema import first_line
from spanwise.console.store import Store
from spanwise.console.views import page_routes, refused_page
from spanwise.log import Log

__all__ = ["build_app"]

_log = Log(__name__)


def build_app(store: Store, *, token: str | None, host: str, port: int, otlp_endpoint: str) -> ASGIApp:
    """Receiver, API and pages over ``store``, behind the guard."""
    return Starlette(
        routes=[*otlp_routes(store), *api_routes(store), *page_routes(store, otlp_endpoint)],
        middleware=[
            Middleware(
                Guard, token=token, host=host, port=port, refused=refused_page(), post_paths=OTLP_PATHS
            )
        ],
        exception_handlers={duckdb.Error: _unreadable},
    )


def _unreadable(_: Request, error: Exception) -> Response:
    """An error of DuckDB's, where its file is damaged in part, is one sentence and no traceback."""
    text = first_line(error)
    _log.seldom("The console cannot read its file: %s", text)
    return JSONResponse({"error": f"the console's file cannot be read: {text}"}, 500)
