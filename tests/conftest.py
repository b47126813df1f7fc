"""What every test runs on."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from spanwise.log import Log

# What every property test goes by. No deadline, and no check of how fast examples are drawn: a busy machine
# is no error. Where CI is set the examples are the same each time: a change fails for what it does, not for
# the luck of the draw, which goes on finding things on our own machines. Fixtures last for all examples.
settings.register_profile(
    "spanwise",
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("spanwise")


@pytest.fixture(autouse=True)
def _warn_anew(request: pytest.FixtureRequest) -> None:
    """A warning that comes once a minute may have come in the test before."""
    if "caplog" not in request.fixturenames:
        return
    for name, module in list(sys.modules.items()):
        if name.startswith("spanwise."):
            for each in list(vars(module).values()):
                if isinstance(each, Log):
                    each._last.clear()


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
