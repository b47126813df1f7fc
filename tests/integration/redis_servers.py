"""Starts Redis as a cluster of two nodes, and with Sentinel: real servers on free loopback ports."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import redis
from servers import ServerFailed, free_port, listens, redis_server, running, wait_for

SLOTS = 16384


@contextlib.contextmanager
def redis_cluster(tmp: Path) -> Iterator[tuple[int, int]]:
    """A cluster of two nodes, each with half of the slots; yields their ports."""
    program = _program()
    ports = free_port(), free_port()
    buses = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        for port, bus in zip(ports, buses, strict=True):
            folder = tmp / f"node-{port}"
            folder.mkdir()
            options = ["--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
            cluster = ["--cluster-enabled", "yes", "--cluster-port", str(bus), "--port", str(port)]
            command = [program, *options, *cluster]
            stack.enter_context(running(command, folder / "log", lambda port=port: listens(port)))
        nodes = [stack.enter_context(redis.Redis(host="127.0.0.1", port=port)) for port in ports]
        nodes[0].execute_command("CLUSTER ADDSLOTSRANGE", 0, SLOTS // 2 - 1)
        nodes[1].execute_command("CLUSTER ADDSLOTSRANGE", SLOTS // 2, SLOTS - 1)
        nodes[0].execute_command("CLUSTER MEET", "127.0.0.1", ports[1], buses[1])
        for node in nodes:
            wait_for(lambda node=node: _is_whole(node), 30, "the cluster's state")
        yield ports


def _is_whole(node: redis.Redis) -> bool:
    told = node.execute_command("CLUSTER INFO")
    return told["cluster_state"] == "ok" and told["cluster_known_nodes"] == "2"


@contextlib.contextmanager
def redis_sentinel(tmp: Path) -> Iterator[tuple[int, int]]:
    """A server and a Sentinel that knows it as ``main``; yields the Sentinel's port and the server's."""
    program = _program()
    with redis_server(tmp) as url:
        server = int(url.rpartition(":")[2].partition("/")[0])
        port = free_port()
        configuration = tmp / "sentinel.conf"
        configuration.write_text(
            f'bind 127.0.0.1\nport {port}\ndir "{tmp}"\nsentinel monitor main 127.0.0.1 {server} 1\n'
        )
        command = [program, str(configuration), "--sentinel"]
        with running(command, tmp / "sentinel.log", lambda: listens(port)):
            yield port, server


def _program() -> str:
    program = shutil.which("redis-server")
    if program is None:
        raise ServerFailed("redis-server is not installed: apt-get install redis-server")
    return program
