"""The console's pages: Jinja2 templates in ``pages/``, autoescaped; scripts and styles in ``static/``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from spanwise.console.queries.trace import one_trace
from spanwise.console.store import Store

__all__ = ["page_routes", "refused_page"]

_HERE: Final = Path(__file__).parent


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_HERE / "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def refused_page() -> str:
    """The page for a visitor without the token."""
    return _environment().get_template("refused.html").render()


def page_routes(store: Store, otlp_endpoint: str) -> list[BaseRoute]:
    """The list page, the trace page and the static files.

    Args:
        otlp_endpoint: shown where nothing has arrived yet, as the address to send to.
    """
    environment = _environment()

    def traces(_: Request) -> HTMLResponse:
        page = environment.get_template("traces.html")
        return HTMLResponse(page.render(otlp_endpoint=otlp_endpoint))

    def trace(request: Request) -> HTMLResponse:
        trace_id = request.path_params["trace_id"].lower()
        with store.reading() as cursor:
            found = one_trace(cursor, trace_id)
        page = environment.get_template("trace.html")
        return HTMLResponse(page.render(trace_id=trace_id, trace=found), 200 if found else 404)

    return [
        Route("/", traces),
        Route("/traces/{trace_id}", trace),
        Mount("/static", StaticFiles(directory=_HERE / "static")),
    ]
