"""Puts spanwise's providers, Tracer and span class under the SDK's own names, for the SDK's own tests.

`opentelemetry.sdk.trace.Span` itself stays the SDK's: it is the class that others check against, and the
tests want it to refuse being instantiated. What tests instantiate is `_Span`.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

SDK_TRACE = "opentelemetry.sdk.trace"
_reload = importlib.reload


def swap() -> None:
    """Replaces the names in the SDK's module, now and after every reload of it."""
    _swap_names()
    importlib.reload = _reload_and_swap
    # The tests want each warning, as often as the SDK gives it; ours come once a minute.
    importlib.import_module("spanwise.log")._REST = 0.0


def _swap_names() -> None:
    sdk = importlib.import_module(SDK_TRACE)
    sdk.TracerProvider = importlib.import_module("spanwise.spans.provider").TracerProvider
    sdk.Tracer = importlib.import_module("spanwise.spans.tracer").Tracer
    sdk._Span = importlib.import_module("spanwise.spans.span").Span
    ours = importlib.import_module("spanwise.meters.provider").MeterProvider
    for name in ("opentelemetry.sdk.metrics", "opentelemetry.sdk.metrics._internal"):
        importlib.import_module(name).MeterProvider = ours


def _reload_and_swap(module: ModuleType) -> ModuleType:
    # The SDK's tests of environment variables reload the module, which makes all its classes anew.
    # Ours subclass them, so ours are made anew too; else isinstance would compare old with new.
    reloaded = _reload(module)
    if module.__name__ == SDK_TRACE:
        for name in [name for name in sys.modules if name.startswith("spanwise.spans.")]:
            del sys.modules[name]
        _swap_names()
    return reloaded
