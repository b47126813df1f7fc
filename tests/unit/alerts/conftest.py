"""What several tests of alerts need."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from spanwise.alerts.notification import Notification, Series


@pytest.fixture
def notification() -> Callable[..., Notification]:
    def make(**changes: Any) -> Notification:
        given = {
            "name": "memory",
            "severity": "critical",
            "status": "firing",
            "metric": "process.memory.usage",
            "unit": "By",
            "limit": 800e6,
            "value": 812.5e6,
            "since": 1_700_000_000.0,
            "time": 1_700_000_060.0,
            "series": (Series({"k": "a"}, 812.5e6),),
            "service": "shop",
            "host": "web-1",
            "pid": 7,
            "form": "level",
        }
        return Notification(**{**given, **changes})

    return make


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], None]:
    def wait(holds: Callable[[], Any]) -> None:
        deadline = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < deadline, "it did not come to pass"
            time.sleep(0.002)

    return wait
