"""What a request needs, put together once a process and found through the app."""

from __future__ import annotations

from dataclasses import dataclass

import pluggy
from flask import current_app, request
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from cache import Cache
from media import Library
from preload import Preloader
from settings import Settings
from upstream import Lyrics


@dataclass(frozen=True)
class Store:
    """The parts of the running store."""

    settings: Settings
    engine: Engine
    session: sessionmaker[Session]
    cache: Cache
    plugins: pluggy.PluginManager
    lyrics: Lyrics
    library: Library
    preloader: Preloader


def store() -> Store:
    """The store of the app that handles this request."""
    found: Store = current_app.extensions["store"]
    return found


def seconds_arg(name: str, default: float = 0.0) -> float:
    """A query parameter in seconds, held between 0 and STORE_SLOW_LIMIT; not a number: the default."""
    value = request.args.get(name, default, type=float)
    # min and max with NaN depend on the order: this one turns it into 0.
    return min(max(0.0, value), store().settings.slow_limit)
