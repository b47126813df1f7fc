"""HTTP clients in their oldest supported versions and some between give the same spans as in today's.

Each set of versions is installed into a folder of its own, before this environment's packages on the path.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from python_packages import installed_together

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parents[2]

VERSIONS = [
    ("requests==2.28.2", "urllib3==1.26.20"),
    ("requests==2.32.3", "urllib3==2.0.7"),
    ("httpx==0.27.2",),
]
if sys.version_info < (3, 12):
    # These import modules that Python 3.12 or 3.13 no longer has.
    VERSIONS += [
        ("requests==2.20.0", "urllib3==1.24.3"),
        ("requests==2.25.1", "urllib3==1.25.11"),
        ("httpx==0.20.0",),
        ("httpx==0.23.3",),
    ]

PROBE = """
import asyncio, json, sys
sys.path.insert(0, sys.argv[1])
from http_client_telemetry import INSTRUMENTORS, Telemetry
from local_http import serving

chosen = sys.argv[2:]
telemetry = Telemetry()
telemetry.instrument(*chosen)
versions = [f"{name}=={sys.modules[name].__version__}" for name in chosen]
conflicts = [INSTRUMENTORS[name]().conflict() for name in chosen]

def told(name, server, send):
    telemetry.exporter.clear()
    server.requests.clear()
    try:
        send()
    except Exception as error:
        name = f"{name}: {type(error).__name__}"
    return [name] + [
        [span.name, span.parent is None, span.status.status_code.name,
         span.attributes["url.full"].replace(str(server.port), "PORT"),
         span.attributes.get("http.response.status_code"), span.attributes.get("http.request.resend_count"),
         span.attributes.get("network.protocol.version"), span.attributes.get("error.type"),
         any(f"{span.context.span_id:016x}" in sent for sent in server.sent)]
        for span in telemetry.spans
    ]

def traffic(server):
    base = server.base
    if "requests" in chosen:
        import requests
        yield "get", lambda: requests.get(f"{base}/ok?sig=x")
        yield "hops", lambda: requests.get(f"{base}/redirect/2")
        yield "error", lambda: requests.post(f"{base}/status/500", data=b"12")
        yield "refused", lambda: requests.get("http://127.0.0.1:9/ok")
    if "urllib3" in chosen:
        import urllib3
        retry = urllib3.util.retry.Retry(3, status_forcelist=[503])
        yield "get", lambda: urllib3.PoolManager().request("GET", f"{base}/ok?sig=x")
        yield "hops", lambda: urllib3.PoolManager().request("GET", f"{base}/redirect/2")
        yield "tries", lambda: urllib3.PoolManager().request("GET", f"{base}/flaky/x/2", retries=retry)
        yield "refused", lambda: urllib3.PoolManager().request("GET", "http://127.0.0.1:9/ok", retries=1)
    if "httpx" in chosen:
        import httpx
        async def later():
            async with httpx.AsyncClient() as client:
                await client.get(f"{base}/status/404")
        client = httpx.Client()
        yield "get", lambda: client.get(f"{base}/ok?sig=x")
        yield "hops", lambda: client.get(f"{base}/redirect/2", follow_redirects=True)
        yield "refused", lambda: client.get("http://127.0.0.1:9/ok")
        yield "later", lambda: asyncio.run(later())

with serving() as server:
    print(json.dumps([versions, conflicts, [told(name, server, send) for name, send in traffic(server)]]))
"""


def told(*libraries: str, path: str = "") -> Any:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (path, str(ROOT / "src"))))}
    helpers = str(ROOT / "tests" / "unit" / "instrumentors")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROBE, helpers, *libraries],
        capture_output=True,
        text=True,
        timeout=120,
        env=environ,
    )
    assert done.returncode == 0, done.stderr
    assert "instrumentation could not" not in done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("versions", VERSIONS, ids=" ".join)
def test_the_same_spans_as_in_today_s_version(versions: tuple[str, ...]) -> None:
    libraries = [each.partition("==")[0] for each in versions]
    found, conflicts, spans = told(*libraries, path=str(installed_together(*versions)))
    assert tuple(found) == versions
    assert conflicts == [None] * len(libraries)
    assert spans == told(*libraries)[-1]
    assert len(spans) == 4 * len(libraries)
