"""`spanwise thresholds replay` from a file, a folder and the console's database to what it prints."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanwise import names
from spanwise.commands.thresholds import thresholds
from spanwise.console.decode import decode_traces
from spanwise.console.store import Store
from spanwise.errors import ConfigurationError, MissingExtraError, ThresholdsError
from spanwise.rules.model import by_precedence
from spanwise.thresholds.load import read

ROOT = Path(__file__).resolve().parents[3]
START = 1_700_000_000_000_000_000
MINE = """
version: 1
spans:
  checkout: {match: {http.route: /checkout}, good: 100ms, acceptable: 200ms, poor: 300ms}
objectives: {checkout: {good: 99%, over: 30d}}
sampling: {keep: [error, critical], baseline: 0%}
profiles:
  all: {sampling: {baseline: 100%}}
"""


def message(count: int = 200) -> ExportTraceServiceRequest:
    """Requests, two a second: each second one fails; every tenth is a checkout of 250 ms."""
    found = ExportTraceServiceRequest()
    group = found.resource_spans.add()
    group.resource.attributes.add(key=names.SERVICE_NAME).value.string_value = "shop"
    scope = group.scope_spans.add()
    for number in range(count):
        trace = (number + 1).to_bytes(16, "big")
        span = scope.spans.add(name="GET", kind=2, trace_id=trace, span_id=trace[8:])
        checkout = number % 10 == 0
        span.start_time_unix_nano = START + number * 500_000_000
        span.end_time_unix_nano = span.start_time_unix_nano + (250_000_000 if checkout else 5_000_000)
        route = "/checkout" if checkout else "/"
        for key, value in ((names.HTTP_REQUEST_METHOD, "GET"), (names.HTTP_ROUTE, route)):
            span.attributes.add(key=key).value.string_value = value
        span.status.code = 2 if number % 2 else 0
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "mine.yaml"
    found.write_text(MINE)
    return found


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    found = tmp_path / "traces.pb"
    found.write_bytes(message().SerializeToString())
    return found


def as_json_lines() -> str:
    """As the Collector writes it: ids in hexadecimal."""
    sent = message()
    document = json_format.MessageToDict(sent, use_integers_for_enums=True)
    spans = sent.resource_spans[0].scope_spans[0].spans
    for span, each in zip(spans, document["resourceSpans"][0]["scopeSpans"][0]["spans"], strict=True):
        each["traceId"], each["spanId"] = span.trace_id.hex(), span.span_id.hex()
    return json.dumps(document) + "\n"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(thresholds, ["replay", *map(str, arguments)], catch_exceptions=False)


def test_it_tells_ratings_alerts_and_what_is_kept(file: Path, traces: Path) -> None:
    done = run(file, "--traces", traces)
    assert done.exit_code == 0
    lines = [line.split() for line in done.stdout.splitlines()]
    assert "200 spans of 200 traces, 2023-11-14 22:13:20 to 2023-11-14 22:14:59 UTC" in done.stdout
    assert ["checkout", "0", "0", "20", "0"] in lines
    assert ["http.server", "180", "0", "0", "0"] in lines
    fired = [line for line in lines if line[:1] == ["http_errors"]]
    assert fired == []  # for two minutes, and the data has not even that
    assert any(line[:1] == ["quiet:"] and "http_errors," in line for line in lines)
    assert any(line[:3] == ["not", "in", "traces:"] and "memory," in line for line in lines)
    assert ["error", "100", "50.0", "%", "100", "50.0", "%"] in [line[:7] for line in lines]
    assert ["kept", "100", "50.0", "%", "100", "50.0", "%"] in [line[:7] for line in lines]


def test_an_alert_that_would_have_fired_is_told_with_its_times(file: Path, tmp_path: Path) -> None:
    traces = tmp_path / "long.pb"
    traces.write_bytes(message(600).SerializeToString())
    done = run(file, "--traces", traces)
    fired = [line.split() for line in done.stdout.splitlines() if line.startswith("  http_errors")]
    # 22:13:30 is the first look that sees ten requests; it holds for two minutes.
    assert fired == [
        ["http_errors", severity, "shop", "2023-11-14", "22:15:30", "still", "firing", "50", "%"]
        for severity in ("critical", "warning")
    ]
    # Each of the 60 checkouts misses: every window of the objective says so, from the first minute on.
    budgets = [line.split() for line in done.stdout.splitlines() if line.startswith("  checkout, ")]
    assert [line[1:6] for line in budgets] == [
        [hours, "h", "of", "its", "budget"] for hours in ("1", "6", "24", "72")
    ]
    assert all(line[-5:] == ["still", "firing", "100", "%", "missed"] for line in budgets)
    assert "preload's budget" in done.stdout


def test_json_has_it_all(file: Path, traces: Path) -> None:
    done = run(file, "--traces", traces, "--json", "--suggest")
    found = json.loads(done.stdout)
    assert found["spans"] == 200
    assert found["unruled"] == 0
    assert found["ratings"]["checkout"] == {"good": 0, "acceptable": 0, "poor": 20, "critical": 0}
    assert found["sampling"]["shares"]["traces"] == 0.5
    assert found["sampling"]["policies"]["error"]["spans"] == 100
    reason = "process.memory.usage is measured, not counted"
    assert {"rule": "memory", "reason": reason} in found["not_in_traces"]
    assert found["lost"] == {"spans": 0, "bytes": 0, "problems": [], "more_problems": 0}
    assert by_precedence(read(found["suggestion"]).rules)


def test_the_readme_s_command_works(tmp_path: Path) -> None:
    (command,) = re.findall(
        r"^\$ spanwise (thresholds replay .+)$", (ROOT / "README.md").read_text("utf-8"), re.M
    )
    (tmp_path / "thresholds.yaml").write_bytes((ROOT / "thresholds.yaml").read_bytes())
    (tmp_path / "traces.jsonl").write_text(as_json_lines())
    done = subprocess.run(
        [sys.executable, "-m", "spanwise", *command.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("200 spans of 200 traces")
    assert done.stderr == "", "no progress bar where there is no terminal"


def test_the_profile_counts(file: Path, traces: Path) -> None:
    found = json.loads(run(file, "--traces", traces, "--json", "--profile", "all").stdout)
    assert found["sampling"]["shares"]["traces"] == 1.0


def test_what_is_suggested_can_be_checked(file: Path, traces: Path, tmp_path: Path) -> None:
    done = run(file, "--traces", traces, "--suggest")
    assert "http.server:" in done.stdout
    assert "Tail sampling" in done.stderr
    assert "Tail sampling" not in done.stdout
    proposed = tmp_path / "proposed.yaml"
    proposed.write_text(done.stdout)
    checked = CliRunner().invoke(thresholds, ["check", str(proposed)], catch_exceptions=False)
    assert checked.exit_code == 0
    assert "good. 1 entries of its own" in checked.output


def test_damage_is_told_counted_and_makes_the_exit_status(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "traces"
    folder.mkdir()
    (folder / "a.pb.gz").write_bytes(gzip.compress(message(10).SerializeToString()))
    (folder / "b.pb").write_bytes(message(10).SerializeToString()[:-1])
    done = run(file, "--traces", folder)
    assert done.exit_code == 1
    assert done.stdout.startswith("19 spans of 10 traces")
    assert f"lost: {folder / 'b.pb'}, byte 0: the file ends within a resource's spans\n" in done.stderr
    assert re.search(r"lost: 0 spans and \d\d\d bytes\n", done.stderr)


def test_nothing_to_replay_is_an_error(file: Path, tmp_path: Path) -> None:
    traces = tmp_path / "x.pb"
    traces.write_bytes(b"\x89PNG\0")
    with pytest.raises(ConfigurationError, match=r"no spans to replay: .*x.pb, byte 0: neither JSON"):
        run(file, "--traces", traces)
    with pytest.raises(ConfigurationError, match="cannot read the traces: No such file"):
        run(file, "--traces", tmp_path / "none")


def test_a_thresholds_file_that_cannot_be_used_is_an_error(traces: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 1\nspanz: {}\n")
    with pytest.raises(ThresholdsError, match=r"bad.yaml:2:1"):
        run(bad, "--traces", traces)


def stored(path: Path) -> Path:
    store = Store(path)
    store.submit(decode_traces(message()), 1).result(20)
    store.close()
    return path


def same(one: Any, other: Any) -> bool:
    return all(one[key] == other[key] for key in ("spans", "unruled", "first", "last", "ratings", "alerts"))


def test_the_console_s_database_gives_the_same(file: Path, traces: Path, tmp_path: Path) -> None:
    database = stored(tmp_path / "console.duckdb")
    before = database.read_bytes()
    found = json.loads(run(file, "--traces", database, "--json").stdout)
    expected = json.loads(run(file, "--traces", traces, "--json").stdout)
    assert same(found, expected)
    assert found["sampling"]["shares"]["traces"] == expected["sampling"]["shares"]["traces"]
    assert found["sampling"]["total"]["size"] > 200 * 50
    assert database.read_bytes() == before


HOLD = """
import sys
from pathlib import Path
from spanwise.console.store import Store
store = Store(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def test_a_database_that_the_console_has_open_is_told(file: Path, tmp_path: Path) -> None:
    database = stored(tmp_path / "console.duckdb")
    holding = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holding.stdout is not None
        assert holding.stdout.readline() == b"open\n"
        with pytest.raises(
            ConfigurationError, match=r"open in another process .*\. Stop the console meanwhile\.$"
        ):
            run(file, "--traces", database)
    finally:
        holding.kill()
        holding.communicate(timeout=60)


def test_a_database_that_is_another_s_is_told(file: Path, tmp_path: Path) -> None:
    import duckdb

    other = tmp_path / "other.duckdb"
    connection = duckdb.connect(str(other))
    connection.execute("create table t (a int)")
    connection.close()
    with pytest.raises(ConfigurationError, match="is not the console's"):
        run(file, "--traces", other)

    newer = stored(tmp_path / "newer.duckdb")
    connection = duckdb.connect(str(newer))
    connection.execute("update console_schema set version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="has schema version 99, this reads 1"):
        run(file, "--traces", newer)


def test_without_the_console_s_extra_its_database_is_told(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = stored(tmp_path / "console.duckdb")
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(MissingExtraError, match="spanwise\\[console\\]"):
        run(file, "--traces", database)
