from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spanwise.console.server import NO_TOKEN, RunningConsole, start
from spanwise.errors import ConfigurationError

TOKEN = "unit-test-token-0123456789"
COMMAND = "from spanwise.commands.console import console; console()"


def test_importing_the_command_imports_no_server_and_no_database() -> None:
    code = (
        "import sys, spanwise.commands.console\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'starlette', 'uvicorn', 'duckdb', 'jinja2'}))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "duckdb", "jinja2"])
def test_a_missing_part_names_the_extra(tmp_path: Path, missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None\n{COMMAND}"
    told = subprocess.run(
        [sys.executable, "-c", code, "--port", "0"], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert told.returncode == 1
    assert "pip install 'spanwise[console]'" in told.stderr
    assert "Traceback" not in told.stderr
    assert not list(tmp_path.iterdir())


def test_a_running_console_tells_its_addresses_and_what_arrived(
    console: RunningConsole, client: Any, make: Any
) -> None:
    assert console.url == f"{console.otlp_endpoint}/?token={TOKEN}"
    client.send(make.request(make.span()).SerializeToString())
    summary = console.summary()
    assert (summary.traces, summary.spans) == (1, 1)
    assert summary.slowest[0].name == "GET /"
    assert [(entry.service, entry.stored) for entry in console.accounting()] == [("store", 1)]


def test_a_token_is_random_unless_given_and_can_be_left_out(tmp_path: Path) -> None:
    with start(tmp_path / "a.duckdb") as one, start(tmp_path / "b.duckdb") as two:
        assert one.token
        assert two.token
        assert one.token != two.token
    with start(tmp_path / "c.duckdb", token=NO_TOKEN) as open_one:
        assert open_one.token is None
        assert open_one.url == open_one.otlp_endpoint + "/"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"host": "0.0.0.0", "token": NO_TOKEN}, "this machine only"),
        ({"token": "short"}, "token"),
        ({"token": "with;semicolon-and-more"}, "token"),
        ({"host": "192.0.2.1"}, "--host"),
        ({"host": "no such host"}, "--host"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        start(tmp_path / "a.duckdb", **arguments)
    assert not list(tmp_path.iterdir())


def test_a_port_in_use_is_named_and_no_file_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"Port {port} is in use.*--port"):
            start(tmp_path / "a.duckdb", port=port)
    assert not list(tmp_path.iterdir())


def test_stopping_frees_port_and_file(tmp_path: Path) -> None:
    first = start(tmp_path / "a.duckdb", token=TOKEN)
    port = int(first.otlp_endpoint.rpartition(":")[2])
    first.stop()
    first.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=60)
    start(tmp_path / "a.duckdb", port=port).stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_its_address_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    ) as process:
        assert process.stdout
        address = process.stdout.readline()
        assert "http://127.0.0.1:" in address
        assert "/?token=" in address
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == ["spanwise.duckdb"]


def test_the_command_refuses_both_token_options() -> None:
    told = subprocess.run(
        [sys.executable, "-c", COMMAND, "--token", TOKEN, "--no-token"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.returncode == 2
    assert "exclude each other" in told.stderr
