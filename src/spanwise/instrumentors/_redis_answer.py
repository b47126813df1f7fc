"""Which server answers: the node of a cluster, what Sentinel found, the address that a name stands for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Final
from weakref import WeakKeyDictionary

from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._redis import Target
from spanwise.instrumentors._redis_shape import place_of
from spanwise.instrumentors._traceback import passed_over
from spanwise.instrumentors._weak import living

__all__ = ["HELD_AS", "Answer", "Answers", "Targets", "answering"]

HELD_AS: Final = "_spanwise_target"
"""The attribute of a pool that holds its `Target`."""

Function = Callable[..., Any]


class Answer:
    """The server that a call is talking to; the last one where there are several.

    Attributes:
        host, port: where it is; empty and 0 before one is known.
        owner: has the options with which it is connected to.
    """

    __slots__ = ("host", "owner", "port")

    def __init__(self) -> None:
        self.host = ""
        self.port = 0
        self.owner: Any = None

    def comes_from(self, place: Any, owner: Any) -> None:
        """It is at ``place``, which has a host and a port."""
        self.host, self.port, self.owner = str(place.host or ""), int(place.port or 0), owner


#: Of the call that is running here and wants to know; a task started within shares it.
answering: ContextVar[Answer | None] = ContextVar("spanwise_redis_answer", default=None)


class Answers:
    """Replacements of methods that choose a server for a call: they note which."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def _note(self, place: Any, owner: Any) -> None:
        answer = answering.get()
        if answer is None:
            return
        try:
            answer.comes_from(place, owner)
        except Exception as error:
            self._calls.warn("tell which server answers", error)

    @passed_over
    def node(self, original: Function) -> Function:
        """A cluster's client asks for a node's client."""

        def get_redis_connection(cluster: Any, node: Any, *args: Any, **options: Any) -> Any:
            client = original(cluster, node, *args, **options)
            self._note(node, getattr(client, "connection_pool", None))
            return client

        return get_redis_connection

    @passed_over
    def node_async(self, original: Function) -> Function:
        """A node of a cluster is asked for a connection."""

        def acquire_connection(node: Any, *args: Any, **options: Any) -> Any:
            self._note(node, node)
            return original(node, *args, **options)

        return acquire_connection

    @passed_over
    def taken(self, original: Function) -> Function:
        """A connection to what Sentinel found is taken from its pool."""

        def get_connection(pool: Any, *args: Any, **options: Any) -> Any:
            connection = original(pool, *args, **options)
            self._note(connection, pool)
            return connection

        return get_connection

    @passed_over
    def taken_async(self, original: Function) -> Function:
        """The same with asyncio."""

        async def get_connection(pool: Any, *args: Any, **options: Any) -> Any:
            connection = await original(pool, *args, **options)
            self._note(connection, pool)
            return connection

        return get_connection


class Targets:
    """The servers that clients name, and replacements of what makes a connection: they learn addresses."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._targets: WeakKeyDictionary[Target, None] = WeakKeyDictionary()
        self._pools: WeakKeyDictionary[Any, None] = WeakKeyDictionary()
        self._places: WeakKeyDictionary[Any, tuple[str, int, str]] = WeakKeyDictionary()

    def add(self, target: Target) -> None:
        """A client names this one; held weakly. Connections to it may be open already."""
        try:
            self._targets[target] = None  # first: a connection that is made meanwhile is told to it
            peer = self._peer(target.address, target.port)
            if peer:
                target.meets(peer)
        except Exception as error:
            self._calls.warn("tell a server's address", error)

    def hold(self, target: Target, pool: Any) -> None:
        """Puts a target on its pool, with which it ends.

        A dictionary with weak keys, asked for each command, would cost as much as starting the span.
        """
        with suppress(AttributeError, TypeError):  # a pool of somebody else's class may not take it
            self._pools[pool] = None
            setattr(pool, HELD_AS, target)

    def forget(self) -> None:
        """Takes the targets off the pools. Each command is looked up anew."""
        for target, _ in living(self._targets):
            target.known = {}
        for pool, _ in living(self._pools):
            vars(pool).pop(HELD_AS, None)
        self._pools.clear()

    @passed_over
    def connected(self, original: Function) -> Function:
        """A connection was made."""

        def on_connect(connection: Any, *args: Any, **options: Any) -> Any:
            done = original(connection, *args, **options)
            self._meet(connection)
            return done

        return on_connect

    @passed_over
    def connected_async(self, original: Function) -> Function:
        """The same with asyncio."""

        async def on_connect(connection: Any, *args: Any, **options: Any) -> Any:
            done = await original(connection, *args, **options)
            self._meet(connection)
            return done

        return on_connect

    def _meet(self, connection: Any) -> None:
        try:
            place = place_of(connection)
            if place is None or place[0] == place[2]:
                return
            self._places[connection] = place
            host, port, _ = place
            peer = self._peer(host, port)
            for target, _ in living(self._targets):
                if target.address == host and target.port == port:
                    target.meets(peer)
        except Exception as error:
            self._calls.warn("tell a server's address", error)

    def _peer(self, host: str, port: int) -> str:
        """The address of all connections to it; empty where they differ, as nobody knows which answers."""
        found = {place[2] for _, place in living(self._places) if place[:2] == (host, port)}
        return found.pop() if len(found) == 1 else ""
