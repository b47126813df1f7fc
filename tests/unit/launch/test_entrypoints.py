"""OpenTelemetry's launcher: it skips all instrumentors, and ours come at its last call."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from opentelemetry.instrumentation.environment_variables import (
    OTEL_PYTHON_CONFIGURATOR,
    OTEL_PYTHON_DISABLED_INSTRUMENTATIONS,
)

from spanwise import distro, entrypoints


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the launcher made happen, with the deny-list at that time."""
    made: list[str] = []
    for name in ("start", "instrument"):

        def note(name: str = name) -> None:
            made.append(f"{name} {os.environ.get(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS)}")

        monkeypatch.setattr(distro, name, note)
    monkeypatch.setenv(OTEL_PYTHON_CONFIGURATOR, "spanwise")
    monkeypatch.setattr(entrypoints.SpanwiseDistro, "chosen", False)
    yield made
    entrypoints._Skipped.end()


@pytest.mark.parametrize("own", [None, "redis"])
def test_the_launcher_skips_all_and_the_user_s_list_comes_back(
    own: str | None, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, own or "")
    if own is None:
        monkeypatch.delenv(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS)
    entrypoints.SpanwiseDistro().configure()
    entrypoints.SpanwiseConfigurator().configure(auto_instrumentation_version="1")
    assert os.environ[OTEL_PYTHON_DISABLED_INSTRUMENTATIONS] == "*"
    entrypoints.at_last()
    assert calls == [f"start {own}", f"instrument {own}"]
    assert os.environ.get(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS) == own


def test_where_another_distribution_was_chosen_nothing_is_skipped_and_nothing_instrumented(
    calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, "redis")
    entrypoints.SpanwiseConfigurator().configure()
    assert os.environ[OTEL_PYTHON_DISABLED_INSTRUMENTATIONS] == "redis"
    entrypoints.at_last()
    assert calls == ["start redis"]
