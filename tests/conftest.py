"""What every test runs on."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

_module: list[Path] = []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """At each module's begin, takes what lives already out of the garbage collector's sight.

    Many tests collect garbage, most of them several times, to see that nothing is kept. Each time a quarter
    of a second went by on looking at imported modules and at what earlier tests left in registries.
    """
    if _module != [item.path]:
        _module[:] = [item.path]
        gc.collect()  # first: garbage would be kept for ever
        gc.freeze()
