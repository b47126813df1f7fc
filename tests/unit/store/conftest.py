"""The store on a small SQLite database of its own for each test."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.serving import make_server

STORE = Path(__file__).resolve().parents[3] / "examples" / "store"
if str(STORE) not in sys.path:
    sys.path.insert(0, str(STORE))

TRACKS = 500
MakeApp = Callable[..., Flask]


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A seeded database that tests copy."""
    from database import make_engine
    from seed import seed

    path = tmp_path_factory.mktemp("seeded") / "store.db"
    engine = make_engine(f"sqlite:///{path}")
    assert seed(engine, TRACKS)
    engine.dispose()  # the last connection closed: the file is whole, without a log beside it
    return path


@pytest.fixture
def make_app(seeded: Path, tmp_path: Path) -> Iterator[MakeApp]:
    """Makes a store with the given environment."""
    from app import create_app
    from settings import Settings

    made: list[Flask] = []

    def make(**env: str) -> Flask:
        copy = tmp_path / f"store{len(made)}.db"
        shutil.copy(seeded, copy)
        own = {
            "STORE_DATA_DIR": str(tmp_path),
            "DATABASE_URL": f"sqlite:///{copy}",
            "STORE_TRACKS": str(TRACKS),
        }
        made.append(create_app(Settings.from_env({**own, **env})))
        return made[-1]

    yield make
    for app in made:
        app.extensions["store"].preloader.close()
        app.extensions["store"].engine.dispose()


@pytest.fixture
def serve() -> Iterator[Callable[[Flask], str]]:
    """Serves an app on a free port in threads of this process; gives its address."""
    servers = []

    def start(app: Flask) -> str:
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join(60)
        server.server_close()
