"""HTTP clients by our instrumentors and by contrib's: the same requests, compared one by one."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from local_http import serving

from oracle_compare import Intended, differences, unexplained
from spanwise.instrumentors import load as loader
from spanwise.settings import Settings

TRAFFIC = Path(__file__).with_name("oracle_http_clients_traffic.py")
FRAME = re.compile(r'  File "[^"]*/(?:opentelemetry|spanwise)/.*\n(?:    .*\n)+')
LOOPBACK = "127.0.0.1"


def _without_instrumentation(trace: str) -> str:
    """A stack trace but for the frames of the instrumentation itself."""
    return FRAME.sub("", trace)


def _full_name(ours: str, theirs: str) -> bool:
    return ours.endswith(f".{theirs}")


FAILURES = [
    Intended(
        "*attribute changed: error.type",
        "the conventions: an exception's full name, with its module",
        holds=_full_name,
    ),
    Intended(
        "span: description",
        "the type is in error.type",
        holds=lambda ours, theirs: theirs.endswith(f": {ours or ''}"),
    ),
    Intended(
        "event attribute changed: exception.stacktrace",
        "each has its own frames in it",
        holds=lambda ours, theirs: _without_instrumentation(ours) == _without_instrumentation(theirs),
    ),
]
HOPS = [
    Intended("span added: GET", "the conventions: a span for each request on the wire", steps="*two hops*"),
    Intended(
        "attribute changed: http.response.status_code",
        "the first hop's own; contrib's one span has the last one's",
        steps="two hops*",
        holds=lambda ours, theirs: (ours, theirs) == (302, 200),
    ),
    Intended(
        "*: points",
        "as many requests as there were, each with its status",
        steps="two hops*",
        holds=lambda ours, theirs: {p["attributes"]["http.response.status_code"] for p in ours} == {302, 200},
    ),
]
SIZES_ADDED = [
    Intended(
        "metric added: http.client.*.body.size",
        "the conventions have them; contrib has them of urllib and urllib3 only",
    )
]
SIZES = [
    Intended("http.client.*.body.size: buckets", "the default ones end at 10 kB and suit milliseconds"),
    Intended(
        "metric missing: http.client.request.body.size",
        "a request without a body: contrib counts one of no bytes",
    ),
    Intended(
        "metric missing: http.client.response.body.size",
        "a body that is not there, or of unknown length: contrib counts one of no bytes, or HEAD's promise",
    ),
]
PEER = [
    Intended(
        "attribute missing: network.peer.address",
        "an address of the connection, says the convention: contrib writes the URL's host",
        holds=lambda _, theirs: theirs in (LOOPBACK, "shop.invalid"),
    ),
    Intended("attribute missing: network.peer.port", "contrib writes the URL's, which is server.port"),
]
PROXY = [
    Intended(
        "*attribute added: server.port",
        "required: the scheme's where the URL has none",
        steps="by proxy",
        holds=lambda ours, _: ours == 80,
    )
]
SERVER = [
    Intended("attribute added: server.address", "required"),
    Intended("attribute added: server.port", "required"),
    Intended("attribute added: network.protocol.version", "recommended"),
]

MEANT: dict[str, list[Intended]] = {
    "requests": [
        *FAILURES,
        *HOPS,
        *SIZES_ADDED,
        *PEER,
        *PROXY,
        Intended("attribute missing: user_agent.original", "opt-in: it is one of the headers to capture"),
        Intended(
            "attribute added: http.request.resend_count",
            "urllib3 tells how often it tried",
            steps="tries",
            holds=lambda ours, _: ours == 2,
        ),
    ],
    "urllib3": [
        *FAILURES[1:],
        *HOPS,
        *SERVER,
        *SIZES,
        Intended(
            "attribute changed: url.full",
            "signatures are redacted",
            steps="a query",
            holds=lambda ours, theirs: ours == theirs.replace("hunter2", "REDACTED"),
        ),
        Intended(
            "attribute added: http.request.resend_count",
            "the conventions: where a request is sent again",
            steps="two hops",
        ),
        Intended("span added: GET", "the conventions: a span for each attempt", steps="tries"),
        Intended(
            "span added: GET", "the conventions: a span for each attempt", steps="nobody listens, twice"
        ),
        Intended(
            "attribute changed: http.response.status_code",
            "the first attempt's own",
            steps="tries",
            holds=lambda ours, theirs: (ours, theirs) == (503, 200),
        ),
        Intended(
            "span: status",
            "the first attempt failed",
            steps="tries",
            holds=lambda ours, _: ours == "ERROR",
        ),
        Intended("*: points", "as many requests as there were", steps="tries"),
        Intended(
            "attribute missing: http.response.header.x_told",
            "urllib3 keeps no more than the status of an attempt that is followed by another",
            steps="tries",
        ),
        Intended("attribute missing: http.response.header.x_told", "the same", steps="two hops in a pool"),
        Intended("attribute added: error.type", "required of a failure"),
        Intended("metric added: http.client.request.duration", "of a failed request too"),
        Intended(
            "event attribute changed: exception.*",
            "the first attempt's own; contrib's one span has what came of the last one",
            steps="nobody listens, twice",
        ),
        Intended(
            "span: description",
            "the first attempt's own",
            steps="nobody listens, twice",
        ),
        Intended(
            "*: attribute changed: server.*",
            "the server is that of the URL: contrib writes the proxy, and on the metric only",
            steps="by proxy",
            holds=lambda ours, _: ours in ("shop.invalid", 80),
        ),
    ],
    "urllib": [
        *FAILURES,
        *HOPS,
        *SERVER,
        *SIZES,
        Intended("http.client.*: attribute added: server.*", "required of the metrics"),
        Intended(
            "*attribute changed: error.type",
            "the conventions: the status; urllib's exception is its way to give the answer",
            holds=lambda ours, theirs: (ours, theirs) in {("404", "HTTPError"), ("500", "HTTPError")},
        ),
        Intended(
            "event missing: exception",
            "the same",
            holds=lambda _, theirs: theirs["attributes"]["exception.type"] == "urllib.error.HTTPError",
        ),
        Intended(
            "span: description",
            "the conventions: none where the status says it",
            holds=lambda ours, theirs: ours is None and theirs.startswith("HTTPError: "),
        ),
        Intended(
            "*attribute changed: http.request.method",
            "the method depends on the data: contrib asks for it too early",
            steps="data beside the request",
            holds=lambda ours, theirs: (ours, theirs) == ("POST", "GET"),
        ),
        Intended("span: name", "the same", steps="data beside the request"),
        Intended("span added: GET", "a request that was refused and one that was not", steps="logging in"),
        Intended(
            "attribute changed: http.response.status_code",
            "the first one's own",
            steps="logging in",
            holds=lambda ours, theirs: (ours, theirs) == (401, 200),
        ),
        Intended("attribute added: error.type", "the first one was refused", steps="logging in"),
        Intended("span: status", "the first one was refused", steps="logging in"),
        Intended("*: points", "as many requests as there were", steps="logging in"),
        Intended("span missing: GET", "a data: URL is no HTTP request", steps="no HTTP"),
        Intended("metric missing: http.client.request.duration", "the same", steps="no HTTP"),
    ],
    "httpx": [
        *FAILURES,
        *SIZES_ADDED,
        *PEER,
        *PROXY,
        Intended(
            "metric added: http.client.request.duration", "of a failed request too: contrib raises before"
        ),
    ],
}


@pytest.fixture(scope="module")
def addresses() -> Iterator[tuple[str, str]]:
    """The server's, and one where nobody listens."""
    with serving() as local, socket.socket() as nobody:
        nobody.bind((LOOPBACK, 0))
        yield local.base, f"http://{LOOPBACK}:{nobody.getsockname()[1]}"


def told_by(whose: str, library: str, addresses: tuple[str, str]) -> Any:
    environ = {**os.environ, "OTEL_SEMCONV_STABILITY_OPT_IN": "http"}
    done = subprocess.run(
        [sys.executable, str(TRAFFIC), whose, library, *addresses],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "could not" not in done.stderr
    # Messages name objects by their addresses.
    return json.loads(re.sub(r"0x[0-9a-f]+", "0x", done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("library", MEANT)
def test_all_that_differs_is_meant(library: str, addresses: tuple[str, str]) -> None:
    ours, theirs = (told_by(whose, library, addresses) for whose in ("ours", "contrib"))
    assert unexplained(differences(ours, theirs), MEANT[library], "new") == []


@pytest.mark.parametrize("library", MEANT)
@pytest.mark.parametrize(
    ("opt_in", "ours"),
    [("", True), ("http", True), ("database,http", True), ("http/dup", False), ("database", False)],
)
def test_the_old_names_and_both_are_contrib_s_to_write(
    library: str, opt_in: str, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", opt_in)
    (entry,) = (each for each in loader.entry_points(loader.GROUP) if each.name == library)
    assert (loader._candidate(library, entry, Settings()).by() == "spanwise") is ours
    switched = loader._candidate(library, entry, Settings(contrib_instrumentations=(library,)))
    assert f"opentelemetry-instrumentation-{library}" in switched.by()
