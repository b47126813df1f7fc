"""A small media store: `python examples/store/app.py`, `flask --app examples/store/app run`,
`gunicorn --chdir examples/store 'app:create_app()'`."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

# `flask run` and gunicorn find the modules beside this one by themselves; an import by path does not.
if str(Path(__file__).resolve().parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).resolve().parent))

from flask import Flask, Response, abort, jsonify
from sqlalchemy.orm import sessionmaker
from werkzeug.exceptions import HTTPException

from cache import make_cache
from context import Store
from database import make_engine
from media import Library
from plugins.manager import load_plugins
from preload import Preloader
from routes import catalogue, faults, health, lyrics, playback, trade
from seed import seed
from settings import Settings
from upstream import Lyrics

log = logging.getLogger("store")


def create_app(settings: Settings | None = None) -> Flask:
    """The app, its database filled. Settings come from the environment unless given."""
    settings = settings or Settings.from_env()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    engine = make_engine(settings.database_url)
    seed(engine, settings.tracks)
    # A server may fork after this: a connection shared by two processes breaks both.
    engine.dispose()
    library = Library(settings.media_dir)
    app = Flask(__name__)
    app.extensions["store"] = Store(
        settings=settings,
        engine=engine,
        session=sessionmaker(engine, expire_on_commit=False),
        cache=make_cache(settings),
        plugins=load_plugins(settings),
        lyrics=Lyrics(settings),
        library=library,
        preloader=Preloader(
            library.load, settings.preload_workers, settings.preload_limit, settings.memory_limit
        ),
    )
    for part in (catalogue, trade, lyrics, playback, faults, health):
        app.register_blueprint(part.blueprint)
    app.url_value_preprocessor(_known_range)
    app.register_error_handler(HTTPException, _error)
    return app


def _known_range(_endpoint: str | None, values: dict[str, Any] | None) -> None:
    # No id is larger than a database's integer, and the driver would raise on one.
    if any(type(value) is int and value >= 2**31 for value in (values or {}).values()):
        abort(404)


def _error(error: HTTPException) -> tuple[Response, int]:
    return jsonify(error=error.name, detail=error.description), error.code or 500


def main() -> None:
    """Serves on STORE_HOST (127.0.0.1) and PORT (8000; 0 takes a free one) until interrupted."""
    from werkzeug.serving import make_server

    host, port = os.environ.get("STORE_HOST", "127.0.0.1"), int(os.environ.get("PORT", "8000"))
    server = make_server(host, port, create_app(), threaded=True)
    print(f"store listening on http://{host}:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        log.info("interrupted")
    finally:
        server.server_close()


if __name__ == "__main__":
    main()
