"""Replacing methods: what is replaced is there and public, and everything is as before afterwards."""

from __future__ import annotations

import functools
import sys
import types
import urllib.request
from pathlib import Path
from typing import Any

import cachetools
import circuitbreaker
import diskcache
import flask
import httpx
import pluggy
import pybreaker
import pytest
import requests
import urllib3
from pymemcache.client.base import Client

sys.path.insert(0, str(Path(__file__).resolve().parent))

from http_client_telemetry import INSTRUMENTORS, Telemetry

from spanwise.instrumentors._patches import Patches
from spanwise.instrumentors.cachetools import CachetoolsInstrumentor
from spanwise.instrumentors.circuitbreaker import CircuitbreakerInstrumentor
from spanwise.instrumentors.diskcache import DiskcacheInstrumentor
from spanwise.instrumentors.flask import FlaskInstrumentor
from spanwise.instrumentors.functools import FunctoolsInstrumentor
from spanwise.instrumentors.pluggy import PluggyInstrumentor
from spanwise.instrumentors.pybreaker import PybreakerInstrumentor
from spanwise.instrumentors.pymemcache import PymemcacheInstrumentor
from spanwise.meters.cache import caches_of

# tests/integration/test_http_client_versions.py says for which versions this holds.
REPLACED: list[tuple[type, str]] = [
    (requests.Session, "send"),
    (requests.Session, "resolve_redirects"),
    (urllib3.HTTPConnectionPool, "urlopen"),
    (urllib.request.OpenerDirector, "open"),
    (urllib.request.OpenerDirector, "error"),
    (httpx.HTTPTransport, "handle_request"),
    (httpx.AsyncHTTPTransport, "handle_async_request"),
]


def functions() -> list[Any]:
    return [getattr(owner, name) for owner, name in REPLACED]


def test_all_is_replaced_once_and_put_back() -> None:
    before = functions()
    owned = [name in vars(owner) for owner, name in REPLACED]
    telemetry = Telemetry()
    for _ in range(2):
        telemetry.instrument()
        for instrumentor in INSTRUMENTORS.values():
            instrumentor().instrument()  # does nothing: it is on
        within = functions()
        assert [function.__wrapped__ for function in within] == before
        assert [function.__name__ for function in within] == [name for _, name in REPLACED]
        telemetry.uninstrument()
        assert all(one is other for one, other in zip(functions(), before, strict=True))
        assert [name in vars(owner) for owner, name in REPLACED] == owned


def test_what_somebody_replaced_since_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Theirs calls ours, which tells nothing any more."""
    telemetry = Telemetry()
    telemetry.instrument("httpx")
    ours = httpx.HTTPTransport.handle_request
    seen: list[httpx.Request] = []

    def theirs(self: Any, request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return ours(self, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", theirs)
    telemetry.uninstrument()
    assert httpx.HTTPTransport.handle_request is theirs
    with pytest.raises(httpx.ConnectError):
        httpx.get("http://127.0.0.1:9")
    assert (len(seen), telemetry.spans) == (1, [])
    monkeypatch.undo()
    httpx.HTTPTransport.handle_request = ours.__wrapped__  # type: ignore[method-assign, attr-defined]


def test_an_inherited_method_is_replaced_where_it_is() -> None:
    class Ancestor:
        def said(self) -> str:
            return "as ever"

    class Heir(Ancestor):
        """Has nothing of its own."""

    patches = Patches()
    patches.replace(Heir, "said", lambda original: lambda self: f"not {original(self)}")
    assert (Ancestor().said(), Heir().said()) == ("not as ever", "not as ever")
    patches.restore()
    assert (Ancestor().said(), Heir().said()) == ("as ever", "as ever")
    assert "said" not in vars(Heir)


def test_a_method_that_is_not_there_costs_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry = Telemetry()
    with pytest.raises(AttributeError, match=r"HTTPTransport has no handle_nothing\(\)"):
        Patches().replace(httpx.HTTPTransport, "handle_nothing", lambda original: original)
    monkeypatch.delattr(httpx.HTTPTransport, "handle_request")
    # What the class inherits would be replaced: that is another's.
    monkeypatch.delattr(httpx.BaseTransport, "handle_request")
    telemetry.instrument("httpx")
    telemetry.uninstrument()
    (record,) = caplog.records
    assert record.getMessage().startswith("httpx instrumentation could not wrap httpx (AttributeError: ")


def test_what_was_replaced_twice_comes_back_in_turn() -> None:
    class Client:
        def said(self) -> str:
            return "a"

    original = Client.said
    patches = Patches()
    for letter in "bc":
        patches.replace(Client, "said", lambda former, letter=letter: lambda self: former(self) + letter)
    assert Client().said() == "abc"
    patches.restore()
    assert Client.said is original


def test_an_inherited_method_may_be_replaced_on_the_class_itself() -> None:
    class Ancestor:
        def said(self) -> str:
            return "as ever"

    class Heir(Ancestor):
        """Has nothing of its own."""

    patches = Patches()
    patches.replace(Heir, "said", lambda original: lambda self: f"not {original(self)}", here=True)
    assert (Ancestor().said(), Heir().said()) == ("as ever", "not as ever")
    patches.restore()
    assert "said" not in vars(Heir)


def test_one_that_fails_midway_has_replaced_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = functions()
    patches = Patches()

    def attach() -> None:
        with patches:
            patches.replace(requests.Session, "send", lambda original: lambda *_: None)
            patches.replace(types.ModuleType("module_of_theirs"), "nothing", lambda original: original)

    with pytest.raises(AttributeError, match=r"module_of_theirs has no nothing\(\)"):
        attach()
    assert functions() == before
    telemetry = Telemetry()
    monkeypatch.delattr(requests.sessions.SessionRedirectMixin, "resolve_redirects")
    telemetry.instrument("requests")
    assert requests.Session.send is before[0]
    telemetry.uninstrument()


def theirs(original: Any) -> Any:
    """What somebody puts on top of ours."""

    def on_top(*args: Any, **named: Any) -> Any:
        return original(*args, **named)

    return on_top


ON_TOP: list[tuple[Any, Any, str]] = [
    (FunctoolsInstrumentor, functools, "lru_cache"),
    (CachetoolsInstrumentor, cachetools.LRUCache, "__setitem__"),
    (DiskcacheInstrumentor, diskcache.Cache, "set"),
    (PymemcacheInstrumentor, Client, "get"),
    (FlaskInstrumentor, flask.Flask, "__call__"),
    (PybreakerInstrumentor, pybreaker.CircuitBreaker, "call"),
    (CircuitbreakerInstrumentor, circuitbreaker.CircuitBreaker, "decorate"),
    (PluggyInstrumentor, pluggy.PluginManager, "register"),
]


@pytest.mark.parametrize(("instrumentor", "owner", "name"), ON_TOP)
def test_every_instrumentor_leaves_what_is_on_top(
    instrumentor: Any, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = vars(owner)[name]
    instrumentor().instrument()
    ours = vars(owner)[name]
    assert ours is not original
    monkeypatch.setattr(owner, name, theirs(ours))
    instrumentor().uninstrument()
    assert vars(owner)[name].__name__ == "on_top"
    monkeypatch.undo()
    setattr(owner, name, original)


def test_what_is_left_below_observes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry = Telemetry()
    providers: Any = {
        "tracer_provider": telemetry.provider,
        "meter_provider": telemetry.meters,
    }
    wanted = [
        (FunctoolsInstrumentor, functools, "lru_cache"),
        (CachetoolsInstrumentor, cachetools.Cache, "__getitem__"),
        (CachetoolsInstrumentor, cachetools.Cache, "__setitem__"),
        (CachetoolsInstrumentor, cachetools.Cache, "__init__"),
        (FlaskInstrumentor, flask.Flask, "__call__"),
    ]
    originals = [vars(owner)[name] for _, owner, name in wanted]
    for instrumentor, owner, name in wanted:
        instrumentor().instrument(**providers)
        monkeypatch.setattr(owner, name, theirs(vars(owner)[name]))
    for instrumentor, _, _ in wanted:
        instrumentor().uninstrument()
    made = cachetools.Cache[int, int](2)
    made[1] = 1
    assert made[1] == 1
    assert flask.Flask("left").test_client().get("/").status_code == 404

    @functools.lru_cache
    def square(number: int) -> int:
        return number * number

    assert [square(2), square(2)] == [4, 4]
    assert telemetry.spans == []
    caches = caches_of(telemetry.meters)
    assert not caches._tallies
    assert not caches._watched
    monkeypatch.undo()
    for (_, owner, name), original in zip(wanted, originals, strict=True):
        setattr(owner, name, original)


HALF: list[tuple[Any, Any, str, str]] = [
    (CachetoolsInstrumentor, cachetools, "cached", "cachetools"),
    (DiskcacheInstrumentor, diskcache.Cache, "delete", "diskcache"),
]


@pytest.mark.parametrize(("instrumentor", "owner", "missing", "module"), HALF)
def test_an_attach_that_fails_midway_leaves_the_library_as_it_was(
    instrumentor: Any,
    owner: Any,
    missing: str,
    module: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delattr(owner, missing)
    kinds = [each for each in vars(sys.modules[module]).values() if isinstance(each, type)]
    before = [dict(vars(each)) for each in kinds]
    instrumentor().instrument()
    try:
        assert [dict(vars(each)) for each in kinds] == before
        assert f"could not wrap {module} (" in caplog.text
    finally:
        instrumentor().uninstrument()
