"""pluggy from 1.0 to the newest: the same spans, the same results, the same tracebacks.

Says for which versions the one private name of `spanwise.instrumentors._pluggy` holds. Each version is put
into a folder of its own in the user's cache, once; pluggy needs nothing else.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from python_packages import installed_into

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0", "1.6.0", "")  # the last is the newest

PROBE = """
import json, sys, traceback, warnings
from importlib.metadata import version
import pluggy
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from spanwise.instrumentors.pluggy import PluggyInstrumentor

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
spec, impl = pluggy.HookspecMarker("store"), pluggy.HookimplMarker("store")

class Hooks:
    @spec
    def price(self, cents): ...
    @spec(firstresult=True)
    def choose(self, cents): ...
    @spec(historic=True)
    def opened(self, cents): ...

class Prices:
    @impl
    def price(self, cents):
        return cents // (cents - 13)
    @impl(tryfirst=True)
    def choose(self, cents):
        return cents
    @impl
    def opened(self, cents):
        return cents

class Wraps:
    @impl(hookwrapper=True)
    def price(self, cents):
        log.append("set up")
        outcome = yield
        log.append("torn down")

class Others:
    @impl
    def price(self, cents):
        return 2
    @impl
    def choose(self, cents):
        return 0

log = []

def manager():
    made = pluggy.PluginManager("store")
    made.add_hookspecs(Hooks)
    for kind in (Prices, Wraps, Others):
        made.register(kind(), name=kind.__name__.lower())
    return made

def told():
    spans = exporter.get_finished_spans()
    exporter.clear()
    by_id = {span.context.span_id: span.name for span in spans}
    return [
        (span.name, by_id.get(span.parent.span_id) if span.parent else None, span.status.status_code.name)
        for span in spans
    ]

def work(made):
    found = [made.hook.price(cents=14), made.hook.choose(cents=5)]
    results = []
    made.hook.opened.call_historic(results.append, {"cents": 3})
    made.register(Prices(), name="late")
    found += [list(results), made.hook.price.call_extra([lambda cents: 9], {"cents": 14})]
    found.append(made.subset_hook_caller("price", [made.get_plugin("others")])(cents=14))
    made.unregister(name="late")
    try:
        made.hook.price(cents=13)
    except ZeroDivisionError as error:
        entries = traceback.extract_tb(error.__traceback__)
        ours = [entry for entry in entries if "instrumentors" in entry.filename]
        found.append([(entry.name, entry.lineno) for entry in entries if entry not in ours])
        found.append(len(ours))
    return found

early = manager()
executor = early._inner_hookexec
plain = work(manager())
plain_log = list(log)
PluggyInstrumentor().instrument(tracer_provider=provider)
result = {"version": version("pluggy"), "plain": plain}
for name, made in (("early", early), ("late", manager())):
    log.clear()
    result[name] = work(made)
    result[name + " log"] = log == plain_log
    result[name + " spans"] = [span for span in told() if not span[0].startswith("plugin.load")]
PluggyInstrumentor().uninstrument()
result["restored"] = all(made._inner_hookexec is executor for made in (early, made))
result["after"] = work(manager())
result["spans after"] = told()
print(json.dumps(result))
"""


@functools.lru_cache
def probe(version: str) -> dict[str, Any]:
    folder = installed_into("pluggy", version)
    # The environment's own settings decide nothing here.
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "OTEL_"))}
    env["PYTHONPATH"] = os.pathsep.join((str(folder), str(ROOT / "src")))
    done = subprocess.run(
        [sys.executable, "-c", PROBE], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["version"].startswith(version)
    return found


OK, FAILED = "UNSET", "ERROR"
PRICE = [["price others", "price", OK], ["price prices", "price", OK], ["price wraps", "price", OK]]
LATE = ["price late", "price", OK]
SPANS = [
    *PRICE,
    ["price", None, OK],
    ["choose prices", "choose", OK],
    ["choose", None, OK],
    ["opened prices", "opened", OK],
    ["opened", None, OK],
    ["opened late", "opened", OK],
    ["opened", "plugin.load late", OK],  # the call is replayed while the plugin is registered
    *(["price <temp>", "price", OK], LATE, *PRICE, ["price", None, OK]),
    *(LATE, *PRICE[1:], ["price", None, OK]),
    ["price others", "price", OK],
    ["price prices", "price", FAILED],
    ["price wraps", "price", OK],
    ["price", None, FAILED],
]


@pytest.mark.parametrize("version", VERSIONS, ids=[version or "newest" for version in VERSIONS])
def test_every_version_gives_the_same_spans_and_results(version: str) -> None:
    found = probe(version)
    for name in ("early", "late"):
        assert found[f"{name} spans"] == SPANS
        assert found[f"{name} log"]
        assert found[name][:-1] == found["plain"][:-1]
        # A bare raise adds an entry on 3.10; from 3.11 on there is none of ours.
        assert found[name][-1] <= (sys.version_info < (3, 11))
    assert found["restored"]
    assert found["after"] == found["plain"]
    assert found["spans after"] == []
