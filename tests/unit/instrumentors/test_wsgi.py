"""A WSGI request in words: what servers tell differently comes to the same."""

from __future__ import annotations

from typing import Any

import pytest

from spanwise import names
from spanwise.instrumentors._wsgi import request_of
from spanwise.privacy.url import redact_query


def attributes(**environ: Any) -> dict[str, Any]:
    return request_of({"REQUEST_METHOD": "GET", "wsgi.url_scheme": "https", **environ})[1]


@pytest.mark.parametrize(
    ("environ", "path", "query"),
    [
        ({"RAW_URI": "/a%20b?x=1"}, "/a%20b", "x=1"),
        ({"REQUEST_URI": "/a"}, "/a", None),
        ({"RAW_URI": "http://shop/a?x=1"}, "/a", "x=1"),
        ({"RAW_URI": "http://shop"}, "/", None),
        ({"SCRIPT_NAME": "/app", "PATH_INFO": "/a b", "QUERY_STRING": "x=1"}, "/app/a%20b", "x=1"),
        ({"PATH_INFO": "/\xc3\xbc"}, "/%C3%BC", None),
        ({"REQUEST_URI": "http://[/a?x=1", "PATH_INFO": "/b", "QUERY_STRING": "y=1"}, "/b", "y=1"),
        ({}, "/", None),
    ],
)
def test_path_and_query(environ: dict[str, str], path: str, query: str | None) -> None:
    found = attributes(**environ)
    assert (found[names.URL_PATH], found.get(names.URL_QUERY)) == (path, query)


@pytest.mark.parametrize(
    ("environ", "address", "port"),
    [
        ({"HTTP_HOST": "shop.example:8080"}, "shop.example", 8080),
        ({"HTTP_HOST": "shop.example"}, "shop.example", 443),
        ({"HTTP_HOST": "[::1]:8080"}, "::1", 8080),
        ({"HTTP_HOST": "[::1]"}, "::1", 443),
        ({"HTTP_HOST": "shop:none"}, "shop", 443),
        ({"SERVER_NAME": "inner", "SERVER_PORT": "81"}, "inner", 81),
        ({}, None, None),
    ],
)
def test_server(environ: dict[str, str], address: str | None, port: int | None) -> None:
    found = attributes(**environ)
    assert (found.get(names.SERVER_ADDRESS), found.get(names.SERVER_PORT)) == (address, port)


def test_an_environment_with_nothing_in_it() -> None:
    kind, _ = request_of({})
    assert kind.title == "HTTP"
    assert kind.labels == {names.HTTP_REQUEST_METHOD: "_OTHER", names.URL_SCHEME: "http"}


@pytest.mark.parametrize(
    ("query", "redacted"),
    [
        ("a=1&sig=x&b=2", "a=1&sig=REDACTED&b=2"),
        ("Signature=x", "Signature=REDACTED"),
        ("X-Goog-Signature=x&AWSAccessKeyId=y", "X-Goog-Signature=REDACTED&AWSAccessKeyId=REDACTED"),
        ("design=x&mysig=y", "design=x&mysig=y"),
        ("", ""),
    ],
)
def test_signatures_are_redacted(query: str, redacted: str) -> None:
    assert redact_query(query) == redacted
