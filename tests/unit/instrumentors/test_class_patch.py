"""Replacing methods: what is replaced is there and public, and everything is as before afterwards."""

from __future__ import annotations

import sys
import urllib.request
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import urllib3

sys.path.insert(0, str(Path(__file__).resolve().parent))

from http_client_telemetry import INSTRUMENTORS, Telemetry

from spanwise.instrumentors._class_patch import Patches

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
