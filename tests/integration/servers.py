"""Starts real servers for tests, on free loopback ports, and ends them: nothing is shared or left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / "examples" / "store"
_reserved: list[socket.socket] = []


class ServerFailed(RuntimeError):
    """A server is not installed, ended by itself or did not answer in time."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is given to nobody else until this process ends.

    It stays bound, without listening. So the system hands it to no one who asks for a free port, nor to an
    outgoing connection; a server that names it gets it all the same, as both set SO_REUSEADDR (Linux).
    Until then, connections to it are refused.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    _reserved.append(reserved)  # closed, it would be free
    port: int = reserved.getsockname()[1]
    return port


def wait_for(condition: Callable[[], T], deadline: float = 10.0, what: str = "the condition") -> T:
    """Asks until the answer is true and returns it. An exception counts as no.

    Raises TimeoutError after `deadline` seconds, with the last exception as its cause.
    """
    end = time.monotonic() + deadline
    while True:
        problem: Exception | None = None
        try:
            answer = condition()
            if answer:
                return answer
        except Exception as error:
            problem = error
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {deadline:g} s") from problem
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Whether something accepts connections at 127.0.0.1:port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def stop(process: subprocess.Popen[bytes], patience: float = 10.0, ask: int = signal.SIGTERM) -> int:
    """Asks the process to end with a signal, insists after `patience` seconds. Returns its exit code."""
    if process.poll() is None:
        process.send_signal(ask)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait(patience)


@contextlib.contextmanager
def running(
    command: Sequence[str],
    log: Path,
    ready: Callable[[], object],
    *,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    cwd: Path | None = None,
    deadline: float = 30.0,
    ask: int = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a server until the block ends. Its output goes to `log`.

    `ready` is asked until it is true; `env` is added to the environment; the signal `ask` ends it.
    Raises ServerFailed with the end of the log when the process ends first or `deadline` seconds pass.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            **_as_user(user),
        )
    try:
        try:
            wait_for(lambda: process.poll() is not None or ready(), deadline, command[0])
        except TimeoutError as error:
            raise ServerFailed(f"{error}\n{_tail(log)}") from error
        if process.poll() is not None:
            raise ServerFailed(f"{command[0]} ended with code {process.returncode}\n{_tail(log)}")
        yield process
    finally:
        stop(process, ask=ask)


@contextlib.contextmanager
def postgres(tmp: Path) -> Iterator[str]:
    """A new PostgreSQL server with an empty database; yields its URL for SQLAlchemy and psycopg.

    It refuses to run as root, so root runs it as the user `postgres`, in a folder that user can reach.
    """
    programs = _postgres_programs()
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=None if user else tmp))
    data, log = folder / "data", tmp / f"{folder.name}.log"
    try:
        if user:
            shutil.chown(folder, user, user)
        initdb = [programs / "initdb", "-D", data, "-U", "store", "-A", "trust", "-E", "UTF8", "--locale=C"]
        done = subprocess.run(
            [*map(str, initdb), "--no-sync"], capture_output=True, text=True, cwd=folder, **_as_user(user)
        )
        if done.returncode:
            raise ServerFailed(f"initdb: {done.stderr}")
        with _on_free_port(lambda port: _postgres_on(port, programs, data, log, user)) as (port, _):
            yield f"postgresql+psycopg://store@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _postgres_on(
    port: int, programs: Path, data: Path, log: Path, user: str | None
) -> contextlib.AbstractContextManager[object]:
    # Nothing here outlives the test, so nothing need reach the disk.
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "unix_socket_directories="]
    command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), *options]
    is_ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "store"]

    def ready() -> bool:
        return subprocess.run(is_ready, check=False).returncode == 0

    # On SIGTERM it would wait for clients to leave; on SIGINT it sends them away.
    return running(command, log, ready, user=user, cwd=data, ask=signal.SIGINT)


@contextlib.contextmanager
def redis_server(tmp: Path) -> Iterator[str]:
    """A new, empty Redis server; yields its URL."""
    program = shutil.which("redis-server")
    if program is None:
        raise ServerFailed("redis-server is not installed: apt-get install redis-server")

    def on(port: int) -> contextlib.AbstractContextManager[object]:
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(tmp)]
        return running(
            [program, "--port", str(port), *options], tmp / f"redis-{port}.log", lambda: listens(port)
        )

    with _on_free_port(on) as (port, _):
        yield f"redis://127.0.0.1:{port}/0"


@contextlib.contextmanager
def memcached_server(tmp: Path) -> Iterator[tuple[str, int]]:
    """A new, empty memcached; yields its address."""
    program = shutil.which("memcached")
    if program is None:
        raise ServerFailed("memcached is not installed: apt-get install memcached")

    def on(port: int) -> contextlib.AbstractContextManager[object]:
        # It refuses to run as root without a user to become.
        command = [program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "16", "-u", "nobody"]
        return running(command, tmp / f"memcached-{port}.log", lambda: listens(port))

    with _on_free_port(on) as (port, _):
        yield "127.0.0.1", port


@contextlib.contextmanager
def store_app(
    tmp: Path, env: Mapping[str, str] | None = None, launcher: Sequence[str] = ()
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The example store as its own process; yields its address and the process.

    `launcher` goes before `python app.py`, for instance ("opentelemetry-instrument",). Its data and its log,
    store.log, are in `tmp`.
    """
    command = [*launcher, sys.executable, str(STORE / "app.py")]

    def on(port: int) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        own = {"STORE_DATA_DIR": str(tmp), "PORT": str(port), "PYTHONUNBUFFERED": "1", **(env or {})}
        # Asked by connecting only: a request would be one more than a test counts.
        return running(command, tmp / "store.log", lambda: listens(port), env=own)

    with _on_free_port(on) as (port, process):
        yield f"http://127.0.0.1:{port}", process


@contextlib.contextmanager
def _on_free_port(
    start: Callable[[int], contextlib.AbstractContextManager[T]],
) -> Iterator[tuple[int, T]]:
    port = free_port()
    with start(port) as started:
        yield port, started


def _postgres_programs() -> Path:
    """The newest installed PostgreSQL; Debian keeps its programs off the PATH."""
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True
    )
    found = shutil.which("initdb")
    if found:
        folders.insert(0, Path(found).resolve().parent)
    for folder in folders:
        if (folder / "initdb").exists():
            return folder
    raise ServerFailed("PostgreSQL is not installed: apt-get install postgresql")


def _as_user(user: str | None) -> dict[str, Any]:
    """What subprocess needs to run as that user, with none of root's groups."""
    return {"user": user, "group": user, "extra_groups": []} if user else {}


def _tail(log: Path, size: int = 4_000) -> str:
    return log.read_bytes()[-size:].decode("utf-8", "replace")
