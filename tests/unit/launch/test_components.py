"""Samplers and id generators of installed packages."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler

from spanwise import components


def make(argument: str | None) -> Sampler:
    """A factory as the SDK's specification of the entry point has it."""
    if argument == "boom":
        raise RuntimeError("planted")
    return ALWAYS_OFF


class Generator(RandomIdGenerator):
    """One of an installed package."""


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "fake_components", sys.modules[__name__])
    for name in ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_PYTHON_ID_GENERATOR"):
        monkeypatch.delenv(name, raising=False)

    def entry_points(group: str) -> Any:
        attribute = {"opentelemetry_traces_sampler": "make", "opentelemetry_id_generator": "Generator"}[group]
        return [
            EntryPoint("mine", f"fake_components:{attribute}", group),
            EntryPoint("broken", "fake_components:nowhere", group),
        ]

    monkeypatch.setattr(components, "entry_points", entry_points)


@pytest.mark.parametrize("name", ["", "always_on", "parentbased_traceidratio", "Parentbased_Always_On"])
def test_the_sdk_s_own_are_left_to_it(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", name)
    assert components.sampler() is None
    assert components.id_generator() is None
    assert caplog.records == []


def test_installed_ones_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "mine")
    monkeypatch.setenv("OTEL_PYTHON_ID_GENERATOR", "mine")
    assert components.sampler() is ALWAYS_OFF
    assert isinstance(components.id_generator(), Generator)


@pytest.mark.parametrize(("name", "argument"), [("nope", ""), ("broken", ""), ("mine", "boom")])
def test_one_that_cannot_be_used_costs_a_warning(
    name: str, argument: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", name)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    assert components.sampler() is None
    assert len(caplog.records) == 1
    assert repr(name) in caplog.text


def test_a_propagator_that_is_not_installed_costs_itself_alone() -> None:
    code = (
        "import spanwise\n"
        "spanwise.configure(traces_exporter='none', metrics_exporter='none', logs_exporter='none')\n"
        "import flask; print(hasattr(flask.Flask.__call__, '__wrapped__'))\n"
        "from opentelemetry.propagate import get_global_textmap; print(sorted(get_global_textmap().fields))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OTEL_PROPAGATORS": "tracecontext, b4"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["True", "['traceparent', 'tracestate']"], done.stderr
    assert "no propagator 'b4' is installed (OTEL_PROPAGATORS); using tracecontext" in done.stderr
