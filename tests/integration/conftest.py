"""Puts this folder and tests/ on sys.path: their helper modules are imported by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1]))

# What lasts longest begins first, the longest of all in front: else one worker is left with it when the
# others are done. The order decides on nothing but the time.
LONGEST = (
    "test_sqlalchemy_oracle",
    "test_gate_rollout",
    "test_pipe",
    "test_store_everything",
    "test_wheel",
    "test_sdk_own_tests",
    "test_prometheus_rules",
    "test_redis_oracle",
    "test_redis_versions",
    "test_demo",
    "test_pytest_traced",
    "test_launch",
    "test_console_looks",
    "test_alert_pipe",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest modules first; scripts/test gives whole modules to workers in this order."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))
