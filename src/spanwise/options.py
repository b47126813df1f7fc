"""What the settings say to single instrumentors, as keyword arguments of their ``instrument()``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spanwise.settings import Settings

__all__ = ["merged", "options_of"]

Options = Mapping[str, Mapping[str, Any]]

# Instrumentations of caches that are in the process or on its disk.
_LOCAL_CACHES = ("cachetools", "diskcache", "flask_caching")


def options_of(settings: Settings) -> dict[str, Mapping[str, Any]]:
    """Keyword arguments by instrumentation."""
    found: dict[str, Mapping[str, Any]] = {
        "flask": {"request_memory": settings.request_memory},
        "redis": {"info": settings.redis_info},
        "sqlalchemy": {"enable_commenter": settings.sql_commenter},
    }
    if settings.excluded_hooks:
        found["pluggy"] = {"excluded_hooks": settings.excluded_hooks}
    if settings.cache_spans:
        found.update({name: {"cache_spans": True} for name in _LOCAL_CACHES})
    return found


def merged(options: Options, more: Options) -> dict[str, Mapping[str, Any]]:
    """Both; ``more`` wins."""
    return {name: {**options.get(name, {}), **more.get(name, {})} for name in {**options, **more}}
