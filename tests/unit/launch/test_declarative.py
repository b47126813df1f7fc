"""OTEL_CONFIG_FILE, as the installed opentelemetry-configuration reads it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spanwise import declarative

CODE = """
import spanwise
spanwise.configure()
from spanwise import distro
print(sorted(o.name + "=" + o.state for o in distro.current.outcomes if o.name in ("flask", "requests")))
print("the application runs")
"""


def run(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A process configured by that file."""
    (folder / "otel.yaml").write_text(text)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANWISE_"))}
    return subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        env={**plain, "OTEL_CONFIG_FILE": "otel.yaml"},
        check=True,
    )


def test_enabled_false_is_honoured(tmp_path: Path) -> None:
    done = run(
        'file_format: "1.0"\ninstrumentation/development:\n  python:\n    requests: {enabled: false}\n',
        tmp_path,
    )
    assert done.stdout.splitlines() == ["['flask=waiting', 'requests=skipped']", "the application runs"]
    assert done.stderr == ""


def test_disabled_instruments_nothing(tmp_path: Path) -> None:
    done = run('file_format: "1.0"\ndisabled: true\n', tmp_path)
    assert done.stdout.splitlines() == ["[]", "the application runs"], done.stderr


@pytest.mark.parametrize("text", ["file_format: [", "", 'file_format: "0.0-none"\n', "tracer_provider: 7\n"])
def test_a_broken_file_costs_one_error(text: str, tmp_path: Path) -> None:
    done = run(text, tmp_path)
    assert done.stdout.splitlines() == ["[]", "the application runs"]
    assert done.stderr.count("no telemetry") == 1
    assert "OTEL_CONFIG_FILE=otel.yaml" in done.stderr


def test_a_header_that_no_request_can_carry_is_left_out() -> None:
    from opentelemetry.configuration.models import NameStringValuePair, OtlpHttpExporter, SimpleSpanProcessor

    exporter = OtlpHttpExporter(
        headers=[
            NameStringValuePair("a", "1"),
            NameStringValuePair("b c", "s3cret"),
            NameStringValuePair("d", "s3\n"),
        ],
        headers_list="e=1%0a,f =s3cret,g h=s3cret",
    )
    tree = SimpleSpanProcessor(exporter=exporter)  # type: ignore[arg-type]
    problems = list(declarative._without_bad_headers([tree]))
    assert len(problems) == 2
    assert "pair 2 ('b c'" in problems[0]
    assert "pair 3 ('d'" in problems[0]
    assert "pair 3 ('g h'" in problems[1]
    assert "s3" not in "".join(problems)
    assert exporter.headers == [NameStringValuePair("a", "1")]
    assert exporter.headers_list == "e=1%0a,f =s3cret"
    assert list(declarative._without_bad_headers([tree])) == []


def test_a_file_without_propagators_hands_out_a_context(tmp_path: Path) -> None:
    """The package's own stand-in gives None, on which every request of a Flask application fails."""
    (tmp_path / "otel.yaml").write_text('file_format: "1.0"\n')
    code = (
        "import spanwise; spanwise.configure()\n"
        "from opentelemetry.propagate import extract, inject\n"
        "headers = {}; inject(headers)\n"
        "print(extract({'traceparent': '00-' + '1' * 32 + '-' + '2' * 16 + '-01'}), headers)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={**os.environ, "OTEL_CONFIG_FILE": "otel.yaml"},
        check=True,
    )
    assert done.stdout.split() == ["{}", "{}"], done.stderr
