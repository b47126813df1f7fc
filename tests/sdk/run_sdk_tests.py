"""Runs the tests of the installed opentelemetry-sdk with spanwise's providers in place of its own.

The tests come from the SDK's source distribution on PyPI; they are fetched once for each version and kept in
${SPANWISE_CACHE:-${XDG_CACHE_HOME:-~/.cache}/spanwise}/sdk-tests/VERSION, never in the repository.

    python tests/sdk/run_sdk_tests.py [--stock] [--report FILE] [pytest arguments]

Exits with 0 if exactly those of `EXPECTED_FAILURES` failed. --stock leaves the SDK's provider in place, to
tell its failures from ours; then none is expected.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# Whatever starts spans or hands them on (traces, their processors, logs that carry their ids), and metrics.
TESTED = ("tests/trace", "tests/shared_internal", "tests/logs", "tests/context", "tests/metrics")

# 1.45.1 has 749. Far fewer means that the run broke off or collected nothing.
AT_LEAST = 700

FOLDED_LATER = (
    "counts calls of the private measurement consumer: ours add up when a reader collects, without it"
)
# Test id -> why it can't hold for our providers. Only tests that assert private fields belong here.
EXPECTED_FAILURES: dict[str, str] = {
    f"tests/metrics/test_metrics.py::{name}": FOLDED_LATER
    for name in (
        "TestMeter::test_counter_noop_after_meter_disabled",
        "TestMeter::test_reenable_meter_after_disable",
        "TestMeterProvider::test_consume_measurement_counter",
        "TestMeterProvider::test_consume_measurement_gauge",
        "TestMeterProvider::test_consume_measurement_histogram",
        "TestMeterProvider::test_consume_measurement_up_down_counter",
    )
}


def cache_folder(sdk_version: str) -> Path:
    base = os.environ.get("SPANWISE_CACHE")
    if not base:
        base = str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spanwise")
    return Path(base) / "sdk-tests" / sdk_version


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f"error: {' '.join(command)} failed (is PyPI within reach?):\n{done.stderr.strip()}")


def fetch(sdk_version: str) -> tuple[Path, Path]:
    """The SDK's sources and the folder with the test utilities they need, fetched where they aren't yet."""
    folder = cache_folder(sdk_version)
    sources, utilities = folder / "source", folder / "utilities"
    folder.mkdir(parents=True, exist_ok=True)
    # Made beside its place and renamed: another run never sees half of it.
    with tempfile.TemporaryDirectory(dir=folder) as name:
        made = Path(name)
        if not sources.is_dir():
            wanted = f"opentelemetry-sdk=={sdk_version}"
            pip("download", "--no-deps", "--no-binary", "opentelemetry-sdk", "--dest", str(made), wanted)
            (archive,) = made.glob("*.tar.gz")
            shutil.unpack_archive(archive, made / "unpacked")
            (unpacked,) = (made / "unpacked").iterdir()
            put_in_place(unpacked, sources)
        if not utilities.is_dir():
            # A pre-release with the version of the semantic conventions. Without its dependencies:
            # a second API and SDK beside the installed ones would hide them.
            wanted = f"opentelemetry-test-utils=={version('opentelemetry-semantic-conventions')}"
            pip("install", "--no-deps", "--target", str(made / "packages"), wanted, "asgiref>=3.8")
            put_in_place(made / "packages", utilities)
    return sources, utilities


def put_in_place(made: Path, target: Path) -> None:
    try:
        made.rename(target)
    except OSError:
        if not target.is_dir():  # else another run was faster
            raise


def unexpected(report: dict[str, Any], *, stock: bool, chosen: bool) -> list[str]:
    """What is wrong with a run, a line each.

    Args:
        report: as report_outcomes writes it.
        stock: whether it was to run on the SDK's own provider.
        chosen: whether these may be fewer than all tests.
    """
    outcomes: dict[str, str] = report["outcomes"]
    provider = "opentelemetry.sdk.trace" if stock else "spanwise.spans.provider"
    wrong = []
    if report["provider"] != provider:
        wrong.append(f"the tests ran on {report['provider']}, not on {provider}")
    if not chosen and len(outcomes) < AT_LEAST:
        wrong.append(f"only {len(outcomes)} tests ran, of at least {AT_LEAST}")
    failed = {test for test, outcome in outcomes.items() if outcome not in ("passed", "skipped")}
    expected = (
        set() if stock else EXPECTED_FAILURES.keys() & (outcomes if chosen else EXPECTED_FAILURES).keys()
    )
    wrong += [f"failed: {test}" for test in sorted(failed - expected)]
    wrong += [
        f"listed among the expected failures, did not fail: {test}" for test in sorted(expected - failed)
    ]
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the SDK's own tests on spanwise's tracer provider.")
    parser.add_argument("--stock", action="store_true", help="leave the SDK's own provider in place")
    parser.add_argument("--report", type=Path, help="write the outcome of each test to this file, as JSON")
    options, rest = parser.parse_known_args()

    sources, utilities = fetch(version("opentelemetry-sdk"))
    path = [str(HERE), str(utilities)]
    if not options.stock:
        path.insert(0, str(HERE / "startup"))
    # The SDK's tests expect defaults, whatever is set where they run.
    ours = ("OTEL_", "SPANWISE_", "PYTEST_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    environment |= {
        "PYTHONPATH": os.pathsep.join(path),
        # Some of the tests start "python": it has to be this one.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "report_outcomes",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(sources),
        "-q",
        *(rest or TESTED),
    ]
    with tempfile.TemporaryDirectory() as name:
        written = (options.report or Path(name) / "report.json").absolute()
        written.unlink(missing_ok=True)  # of an earlier run
        environment["SDK_TESTS_REPORT"] = str(written)
        code = subprocess.run(command, cwd=sources, env=environment, check=False).returncode
        if not written.exists():
            return code or 1
        report = json.loads(written.read_text(encoding="utf-8"))
    wrong = unexpected(report, stock=options.stock, chosen=bool(rest))
    if code not in (0, 1):  # 1: some test failed
        wrong.append(f"pytest ended with {code}")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
