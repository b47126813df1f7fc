"""A warning with a ``stacklevel`` names the same line as without us, wherever our code stands between."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import spanwise

# Each library's innermost function warns at all levels, and logs at some; where, is printed.
APPLICATION = """
import asyncio, json, logging, sys, warnings
import cachetools, circuitbreaker, flask, functools, httpx, pluggy, pybreaker, redis, requests
import sqlalchemy, urllib3, urllib.request

found = {}

class Kept(logging.Handler):
    def emit(self, record):
        record.where.append((record.pathname, record.lineno))

logging.lastResort = None
logger = logging.getLogger("case")
logger.addHandler(Kept())

def here(name):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for level in range(1, 25):
            warnings.warn("here", stacklevel=level)
    logged = []
    if sys.version_info >= (3, 11):
        for level in range(1, 15):
            logger.warning("here", stacklevel=level, extra={"where": logged})
    found.setdefault(name, [[(each.filename, each.lineno) for each in seen], logged])

def serve():
    app = flask.Flask("shop")
    app.before_request(lambda: here("flask before"))
    app.teardown_request(lambda _: here("flask teardown"))
    app.route("/", endpoint="view")(lambda: (here("flask view"), "ok")[1])
    def parts():
        here("flask stream")
        yield "a"
    app.route("/stream", endpoint="stream")(lambda: flask.Response(parts()))
    client = app.test_client()
    client.get("/")
    client.get("/stream").data

def query():
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        raw.create_function("f", 0, lambda: (here("sqlalchemy"), 1)[1])
        connection.execute(sqlalchemy.text("select f()"))

def command():
    class Connection(redis.Connection):
        def connect(self):
            here("redis connect")
        def send_command(self, *_, **__):
            here("redis command")
        def send_packed_command(self, *_, **__):
            here("redis pipeline")
        def read_response(self, *_, **__):
            return b"OK"
        def can_read(self, timeout=0):
            return False
    client = redis.Redis(connection_pool=redis.ConnectionPool(connection_class=Connection))
    client.get("a")
    client.pipeline(transaction=False).get("a").execute()

def fetch():
    class Adapter(requests.adapters.HTTPAdapter):
        def send(self, request, **_):
            here("requests")
            answer = requests.Response()
            answer.status_code, answer.url, answer.request = 200, request.url, request
            return answer
    session = requests.Session()
    session.mount("http://", Adapter())
    session.get("http://x/")
    def answer(_):
        here("httpx")
        return httpx.Response(200)
    httpx.Client(transport=httpx.MockTransport(answer)).get("http://x/")
    async def later(_):
        here("httpx async")
        return httpx.Response(200)
    async def ask():
        async with httpx.AsyncClient(transport=httpx.MockTransport(later)) as client:
            await client.get("http://x/")
    asyncio.run(ask())
    class Connection(urllib3.connection.HTTPConnection):
        def connect(self):
            here("urllib3")
            raise OSError
    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Connection
    try: Pool("x", 80).urlopen("GET", "/", retries=False)
    except Exception: pass
    class Handler(urllib.request.HTTPHandler):
        def http_open(self, _):
            here("urllib")
            raise OSError
    try: urllib.request.build_opener(Handler).open("http://x/")
    except OSError: pass

def keep():
    class Cache(cachetools.LRUCache):
        def __missing__(self, key):
            here("cachetools missing")
            return key
        def getsizeof(self, value):
            here("cachetools set")
            return 1
    cache = Cache(10)
    cache["a"] = 1
    cache["b"]
    cachetools.cached(cachetools.LRUCache(1))(lambda: here("cachetools"))()
    functools.lru_cache(lambda: here("lru_cache"))()

def guard():
    pybreaker.CircuitBreaker().call(lambda: here("pybreaker call"))
    pybreaker.CircuitBreaker()(lambda: here("pybreaker"))()
    circuitbreaker.circuit(lambda: here("circuitbreaker"))()

def hook():
    specification, implementation = pluggy.HookspecMarker("shop"), pluggy.HookimplMarker("shop")
    class Specification:
        @specification
        def price(self): ...
    class Plain:
        @implementation
        def price(self):
            here("pluggy")
    class Old:
        @implementation(hookwrapper=True)
        def price(self):
            here("pluggy old set-up")
            yield
            here("pluggy old teardown")
    class New:
        @implementation(wrapper=True)
        def price(self):
            here("pluggy set-up")
            result = yield
            here("pluggy teardown")
            return result
    class Failing:
        @implementation(hookwrapper=True)
        def price(self):
            yield
            1 / 0
    manager = pluggy.PluginManager("shop")
    manager.add_hookspecs(Specification)
    for plugin in (Plain(), Old(), New()):
        manager.register(plugin)
    manager.hook.price()
    manager.register(Failing())
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try: manager.hook.price()
        except ZeroDivisionError: pass
    found["pluggy's own"] = [(each.filename, each.lineno) for each in seen]

for each in (serve, query, command, fetch, keep, guard, hook):
    each()
print(json.dumps(found))
"""


def told(script: Path, launched: bool) -> dict[str, Any]:
    begin = "import spanwise; spanwise.configure()\n" if launched else "\n"
    script.write_text(begin + APPLICATION)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    script = tmp_path_factory.mktemp("levels") / "app.py"
    return told(script, False), told(script, True)


def test_every_level_is_the_same_line(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    plain, with_us = both
    assert len(plain) > 20
    # SQLAlchemy calls a listener of an event on another line of the same function than what it does without.
    for found in both:
        found["sqlalchemy"] = [[where[0] for where in each] for each in found["sqlalchemy"]]
    differing = {name for name in plain if plain[name] != with_us[name]}
    assert not differing, {name: (plain[name], with_us[name]) for name in differing}


@pytest.mark.parametrize("kind", ["def", "generator", "async def", "async generator"])
def test_a_decorated_function_warns_of_its_caller(kind: str) -> None:
    """Without the decorator the caller is one level up; so it is with ours."""

    def plain() -> None:
        warnings.warn("here", stacklevel=2)

    def generator() -> Iterator[None]:
        warnings.warn("here", stacklevel=2)
        yield

    async def later() -> None:
        warnings.warn("here", stacklevel=2)

    async def generator_later() -> AsyncIterator[None]:
        warnings.warn("here", stacklevel=2)
        yield

    async def awaits(function: Any) -> None:
        await function()

    async def asks(function: Any) -> None:
        async for _ in function():
            pass

    def run(decorate: Callable[[Any], Any]) -> tuple[str, int]:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            if kind == "def":
                decorate(plain)()
            elif kind == "generator":
                list(decorate(generator)())
            elif kind == "async def":
                asyncio.run(awaits(decorate(later)))
            else:
                asyncio.run(asks(decorate(generator_later)))
        (one,) = seen
        return one.filename, one.lineno

    assert run(spanwise.operation("file.read")) == run(lambda function: function)
