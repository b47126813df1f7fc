"""pytest, which is made of pluggy, traced over real projects' tests: it finds what it finds without us.

The tests come from source distributions on PyPI; they are kept in the user's cache. One process runs a suite
plain, another one under `spanwise run`, with spans and metrics sent to a receiver.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from otlp_sink import Record, otlp_sink
from python_packages import sources_of

ROOT = Path(__file__).resolve().parents[2]


class Suite(NamedTuple):
    """A project's tests.

    Attributes:
        tests: folder of the tests.
        path: folder of what they import, where it is not the installed package.
        least: how many there are at least.
    """

    name: str
    version: str
    tests: str
    path: str
    least: int


CLICK = Suite("click", "8.1.8", "tests", "src", 600)
PLUGGY = Suite("pluggy", "1.6.0", "testing", ".", 100)


def run(suite: Suite, *launcher: str, **settings: str) -> tuple[dict[str, str], int, str]:
    """Outcome by test, exit code and all output."""
    folder = sources_of(suite.name, suite.version)
    env = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("OTEL_", "SPANWISE_", "PYTEST_"))
    }
    env |= {"PYTHONPATH": os.pathsep.join((str(folder / suite.path), str(ROOT / "src"))), **settings}
    arguments = ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", ".", "-rA", "--tb=no", "-q"]
    command = [sys.executable, *launcher, "-m", "pytest", *arguments, suite.tests]
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    found = re.findall(r"^(PASSED|FAILED|ERROR|XFAIL|XPASS) (\S+)", done.stdout, re.MULTILINE)
    return {test: outcome for outcome, test in found}, done.returncode, done.stdout + done.stderr


def tree(spans: list[Record]) -> Counter[tuple[str, str | None]]:
    """How often each span has each parent, by name."""
    by_id = {span["span_id"]: span["name"] for span in spans}
    return Counter((span["name"], by_id.get(span["parent_span_id"])) for span in spans)


@pytest.mark.real
@pytest.mark.parametrize("suite", [CLICK, PLUGGY], ids=["click", "pluggy"])
def test_a_real_suite_has_the_same_outcome_and_is_traced(suite: Suite) -> None:
    plain, code, output = run(suite)
    assert len(plain) >= suite.least, output[-4000:]
    assert code == 0, output[-4000:]

    with otlp_sink() as sink:
        traced, traced_code, traced_output = run(
            suite,
            *("-m", "spanwise", "run", sys.executable),
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint,
            OTEL_SERVICE_NAME="pytest",
            OTEL_LOGS_EXPORTER="none",
        )
        assert traced == plain, traced_output[-4000:]
        assert traced_code == 0

        tests = len(plain)
        sink.wait_for(
            lambda got: tree(got.spans())["pytest_runtest_protocol", "pytest_runtestloop main"] >= tests, 30
        )
        spans = sink.spans()
        metrics = sink.metrics()
    found = tree(spans)
    for hook, implementation in (
        ("pytest_runtest_setup", "pytest_runtest_setup runner"),
        ("pytest_runtest_call", "pytest_runtest_call runner"),
        ("pytest_runtest_teardown", "pytest_runtest_teardown runner"),
    ):
        assert found[hook, "pytest_runtest_protocol runner"] >= found[implementation, hook] > 0
    assert found["pytest_pyfunc_call", "pytest_runtest_call runner"] >= suite.least * 0.9
    assert found["pytest_pyfunc_call python", "pytest_pyfunc_call"] >= suite.least * 0.9
    # Every test's spans hang together below one.
    assert found["pytest_cmdline_main", None] == 1
    loads = [span for span in spans if span["name"].startswith("plugin.load")]
    assert {"plugin.load runner", "plugin.load python"} <= {span["name"] for span in loads}
    assert all(span["attributes"]["spanwise.operation.kind"] == "plugin.load" for span in loads)
    calls = [metric for metric in metrics if metric["name"] == "plugin.call.duration"]
    assert calls
    assert sum(point["value"] for point in calls[-1]["points"]) >= suite.least
