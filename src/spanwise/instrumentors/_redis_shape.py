"""The one place that relies on how redis-py is made: what is replaced, and what has no public way.

redis-py's own observability (since 7.2) records metrics only, after the fact and with a dictionary built for
each; its event dispatcher tells of connections, not of commands. So the classes' public methods are replaced.
Holds for redis-py 4.6 to 8.1: tests/integration/test_redis_versions.py runs on each major version.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, NamedTuple

__all__ = ["POINTS", "Patches", "Queued", "observed_by_contrib", "owner_of", "place_of", "queued"]

Function = Callable[..., Any]

# What is replaced: module, class, method, and the name of what makes the replacement.
POINTS: tuple[tuple[str, str, str, str], ...] = (
    ("redis.client", "Redis", "execute_command", "command"),
    ("redis.client", "Pipeline", "immediate_execute_command", "command"),
    ("redis.client", "Pipeline", "execute", "pipeline"),
    ("redis.cluster", "RedisCluster", "execute_command", "command"),
    ("redis.cluster", "RedisCluster", "get_redis_connection", "node"),
    ("redis.cluster", "ClusterPipeline", "execute", "pipeline"),
    ("redis.sentinel", "SentinelConnectionPool", "get_connection", "taken"),
    ("redis.connection", "AbstractConnection", "on_connect", "connected"),
    ("redis.asyncio.client", "Redis", "execute_command", "command_async"),
    ("redis.asyncio.client", "Pipeline", "immediate_execute_command", "command_async"),
    ("redis.asyncio.client", "Pipeline", "execute", "pipeline_async"),
    ("redis.asyncio.cluster", "RedisCluster", "execute_command", "command_async"),
    ("redis.asyncio.cluster", "ClusterNode", "acquire_connection", "node_async"),
    ("redis.asyncio.cluster", "ClusterPipeline", "execute", "pipeline_async"),
    ("redis.asyncio.sentinel", "SentinelConnectionPool", "get_connection", "taken_async"),
    ("redis.asyncio.connection", "AbstractConnection", "on_connect", "connected_async"),
)

# Since 6.3 a connection calls this one, and on_connect() calls it too.
_SINCE_6_3 = {"on_connect": "on_connect_check_health"}


class Patches:
    """Replaces methods of classes, and puts them back."""

    def __init__(self) -> None:
        self._done: list[tuple[type, str, Function, Function | None]] = []

    def make(self, *makers: object) -> None:
        """Replaces all `POINTS`.

        Args:
            makers: have a method for each kind of point: given the original, it makes the replacement.
        """
        for module, name, method, kind in POINTS:
            owner = getattr(import_module(module), name)
            newer = _SINCE_6_3.get(method, method)
            method = newer if hasattr(owner, newer) else method
            own = vars(owner).get(method)  # None: it is inherited, and ours is removed again
            original = getattr(owner, method)
            replacement = functools.wraps(original)(_maker(makers, kind)(original))
            setattr(owner, method, replacement)
            self._done.append((owner, method, replacement, own))

    def undo(self) -> None:
        """Puts the originals back, except where somebody else has replaced ours since."""
        while self._done:
            owner, method, replacement, own = self._done.pop()
            if vars(owner).get(method) is not replacement:
                continue
            if own is None:
                delattr(owner, method)
            else:
                setattr(owner, method, own)


def _maker(makers: Sequence[object], kind: str) -> Function:
    found: Function = next(getattr(each, kind) for each in makers if hasattr(each, kind))
    return found


class Queued(NamedTuple):
    """What a pipeline is about to send.

    Attributes:
        transaction: whether MULTI and EXEC go around it.
        commands: the arguments of each command.
        watching: whether keys are watched, so that even an empty transaction is sent.
    """

    transaction: bool
    commands: Sequence[Sequence[Any]]
    watching: bool


def queued(pipeline: Any) -> Queued:
    """What waits in a pipeline of any of the four kinds."""
    strategy = getattr(pipeline, "_execution_strategy", None)  # a cluster's, since 6.1
    if strategy is not None:
        stack = strategy._command_queue
        transaction = type(strategy).__name__ == "TransactionStrategy"
        return Queued(transaction, [each.args for each in stack], False)
    stack = getattr(pipeline, "command_stack", None)
    if stack is None:
        stack = pipeline._command_stack  # a cluster's with asyncio, before 6.1
    commands = [each.args if hasattr(each, "args") else each[0] for each in stack]
    # Pipeline's attributes; with asyncio `transaction` is a method, as it is of every client.
    wanted = getattr(pipeline, "is_transaction", getattr(pipeline, "transaction", False))
    transaction = wanted is True or bool(getattr(pipeline, "explicit_transaction", False))
    return Queued(transaction, commands, bool(getattr(pipeline, "watching", False)))


def owner_of(node: Any, client: Any) -> Any:
    """What may be held weakly for as long as a node is used: the node, or the cluster's client."""
    if hasattr(node, "__weakref__"):
        return node
    # A pipeline with asyncio lives shorter than its client.
    return getattr(client, "cluster_client", None) or getattr(client, "_client", None) or client


def observed_by_contrib(client: Any) -> bool:
    """Whether contrib's ``instrument_client()`` was given a client, or the one that a pipeline was made by.

    It marks the client, as it marks a Flask application, and wraps the methods of its pipelines one by one.
    """
    if getattr(client, "_is_instrumented_by_opentelemetry", False):
        return True
    own = getattr(client, "__dict__", {}).get("execute")
    return hasattr(own, "_self_wrapper")  # wrapt's, which contrib wraps with


def place_of(connection: Any) -> tuple[str, int, str] | None:
    """Host and port that a connection was told to go to, and the address where it is; None without one."""
    host = getattr(connection, "host", None)
    port = getattr(connection, "port", None)
    if not isinstance(host, str) or not port:
        return None
    for found in _peers(connection):
        if isinstance(found, tuple) and found and isinstance(found[0], str):
            return host, int(port), found[0]
    return None


def _peers(connection: Any) -> Iterator[object]:
    socket = getattr(connection, "_sock", None)
    if socket is not None:
        yield socket.getpeername()
    writer = getattr(connection, "_writer", None)
    if writer is not None:
        yield writer.get_extra_info("peername")
