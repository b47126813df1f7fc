"""What the composition root tells the instrumentors: limits of the thresholds, and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spanwise import declarative, distro, limits
from spanwise.options import merged, options_of
from spanwise.rating.shipped import CANDIDATES
from spanwise.rating.verdict import critical_beyond
from spanwise.settings import Settings


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SPANWISE_THRESHOLDS", "SPANWISE_PROFILE", "SPANWISE_SQL_COMMENTER", "OTEL_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)


def options(**arguments: Any) -> dict[str, Any]:
    launched = distro._read(arguments)
    limits.settle(launched)
    return dict(merged(options_of(launched.settings), launched.options)["sqlalchemy"])


def test_a_statement_is_slow_where_the_shipped_thresholds_say_critical() -> None:
    assert options() == {"slow_statement": 1.0, "enable_commenter": False}


def test_a_statement_is_slow_where_the_users_thresholds_say_critical(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("version: 1\nspans:\n  db.client: {good: 50ms, acceptable: 100ms, poor: 250ms}\n")
    assert options(thresholds=str(file))["slow_statement"] == 0.25


def test_no_such_rule_no_limit() -> None:
    assert critical_beyond(CANDIDATES, "db.client") == 1.0
    assert critical_beyond(CANDIDATES, "db.server") is None
    assert critical_beyond((), "db.client") is None


def test_comments_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPANWISE_SQL_COMMENTER", "1")
    assert options()["enable_commenter"] is True


def test_a_declarative_file_is_added_to_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = declarative.Declared(
        False, (), {"sqlalchemy": {"enable_commenter": True}, "flask": {"excluded_urls": "health"}}
    )
    monkeypatch.setattr(declarative, "apply", lambda _: declared)
    launched = distro._read({})
    distro._start_from_file(launched, "otel.yaml")
    found = merged(options_of(launched.settings), launched.options)
    assert found["sqlalchemy"] == {"slow_statement": 1.0, "enable_commenter": True}
    assert found["flask"] == {"excluded_urls": "health", "request_memory": False}


def test_settings_reach_the_instrumentors_they_are_about() -> None:
    found = options_of(
        Settings(cache_spans=True, excluded_hooks=("a*",), redis_info=False, request_memory=True)
    )
    assert found["cachetools"] == found["flask_caching"] == found["diskcache"] == {"cache_spans": True}
    assert found["pluggy"] == {"excluded_hooks": ("a*",)}
    assert found["redis"] == {"info": False}
    assert found["flask"] == {"request_memory": True}
    assert not {"cachetools", "pluggy"} & set(options_of(Settings()))
