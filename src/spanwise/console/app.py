"""The console as one ASGI application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from spanwise.console.api import api_routes
from spanwise.console.guard import Guard
from spanwise.console.receive import OTLP_PATHS, otlp_routes
from spanwise.console.store import Store
from spanwise.console.views import page_routes, refused_page

__all__ = ["build_app"]


def build_app(store: Store, *, token: str | None, host: str, port: int, otlp_endpoint: str) -> ASGIApp:
    """Receiver, API and pages over ``store``, behind the guard."""
    return Starlette(
        routes=[*otlp_routes(store), *api_routes(store), *page_routes(store, otlp_endpoint)],
        middleware=[
            Middleware(
                Guard, token=token, host=host, port=port, refused=refused_page(), post_paths=OTLP_PATHS
            )
        ],
    )
