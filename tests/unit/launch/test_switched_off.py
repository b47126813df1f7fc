"""OTEL_SDK_DISABLED: asked before anything is imported; propagation stays."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from spanwise import launch, settings

PROPAGATED = """
from opentelemetry import propagate, trace
came = {"traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01", "baggage": "a=b"}
print(propagate.inject(carrier := {}, propagate.extract(came)), sorted(carrier))
"""


def child(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A process that launches telemetry before it runs the code."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANWISE_"))}
    return subprocess.run(
        [sys.executable, "-c", f"import spanwise; spanwise.configure()\n{code}"],
        env={**plain, "OTEL_SDK_DISABLED": "true", **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_variables_are_the_settings_own() -> None:
    known = {variable: name for variable, name, _, _ in settings.documentation()}
    assert (known[launch._DISABLED], known[launch._REPORT]) == ("disabled", "startup_report")


@pytest.mark.parametrize(("value", "off"), [("true", True), (" TRUE ", True), ("1", False), ("", False)])
def test_only_true_switches_off(value: str, off: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", value)
    assert launch.switched_off() is off


def test_nothing_is_imported() -> None:
    code = (
        "import sys\n"
        "print(*(name for name in sys.modules if name.startswith(('opentelemetry', 'spanwise.'))\n"
        "        or name in ('typing', 'dataclasses', 're', 'logging', 'importlib.metadata', 'threading')))"
    )
    done = child(code)
    loaded = set(done.stdout.split())
    face = {"alerts", "alerts.listeners", "launch", "manual", "manual.controllers", "manual.face"}
    face |= {"manual.nothing", "probes", "probes.endpoint", "snapshot"}
    assert loaded <= {f"spanwise.{name}" for name in face}, done.stderr


@pytest.mark.parametrize(
    ("propagators", "told"), [("", "None ['baggage', 'traceparent']"), ("baggage", "None ['baggage']")]
)
def test_the_propagators_stay(propagators: str, told: str) -> None:
    done = child(PROPAGATED, OTEL_PROPAGATORS=propagators)
    assert (done.stdout.strip(), done.stderr) == (told, "")


def test_a_propagator_that_is_not_installed_raises_nothing() -> None:
    done = child(PROPAGATED, OTEL_PROPAGATORS="baggage,b4")
    assert done.stdout.strip() == "None ['baggage']", done.stderr
    assert "no propagator 'b4' is installed" in done.stderr


def test_a_call_in_code_goes_before_the_variable() -> None:
    code = (
        "spanwise.configure(disabled=False, traces_exporter='none', metrics_exporter='none')\n"
        "from opentelemetry import trace; print(type(trace.get_tracer_provider()).__module__)"
    )
    assert child(code).stdout.strip() == "spanwise.spans.provider"


def test_a_report_that_is_asked_for_is_printed() -> None:
    assert "telemetry is off" in child("", SPANWISE_STARTUP_REPORT="1").stderr
