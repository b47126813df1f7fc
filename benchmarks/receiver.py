"""The sink and Redis as the harness sees them: processes of its own, ended with it."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

__all__ = ["Sink", "redis", "sink"]


class Sink:
    """A running sink.

    Args:
        port: where it listens on loopback.
    """

    def __init__(self, port: int) -> None:
        self.port = port

    def reset(self) -> None:
        """Forgets what arrived."""
        self._ask("POST", "/bench/reset")

    def received(self) -> dict[str, Any]:
        """What arrived since the reset (see :func:`benchmarks.sink.received.summary`)."""
        return self._ask("GET", "/bench/received")

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()


@contextlib.contextmanager
def sink() -> Iterator[Sink]:
    """A sink until the block ends."""
    command = [sys.executable, "-m", "benchmarks.sink.server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Sink(int(process.stdout.readline()))
        # Leaving the block closes its standard input, which ends it.


@contextlib.contextmanager
def redis() -> Iterator[int | None]:
    """A Redis server's port until the block ends; None where none is installed."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([program, *settings], stdout=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
