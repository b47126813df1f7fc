"""Which address a host's name stands for, as the open connections tell."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from opentelemetry.trace import INVALID_SPAN, NoOpTracer

from spanwise import names
from spanwise.instrumentors._call import Calls
from spanwise.instrumentors._database import Conventions
from spanwise.instrumentors._redis import Target
from spanwise.instrumentors._redis_answer import Targets
from spanwise.instrumentors._redis_shape import place_of


class Socket:
    def __init__(self, *peer: Any) -> None:
        self._peer = peer

    def getpeername(self) -> Any:
        return self._peer


class Connection:
    """As redis-py's, connected."""

    def __init__(self, host: str, peer: str) -> None:
        self.host, self.port = host, 6379
        self._sock = Socket(peer, 6379)


def connect(targets: Targets, host: str, peer: str) -> Connection:
    made = Connection(host, peer)
    assert targets.connected(lambda connection: connection)(made) is made
    return made


@pytest.fixture
def targets() -> Targets:
    return Targets(Calls("redis", NoOpTracer()))


def target(host: str = "redis.internal") -> Target:
    return Target(object(), Conventions(stable=True, old=False), host, 6379)


def test_the_address_of_all_connections(targets: Targets) -> None:
    one, other = target(), target("elsewhere")
    for each in (one, other):
        targets.add(each)
    before = one.command(["GET", "key"])
    kept = [connect(targets, "redis.internal", "10.0.0.1") for _ in range(2)]
    assert (one.peer, other.peer) == ("10.0.0.1", "")
    assert names.NETWORK_PEER_ADDRESS not in before.attributes
    after = one.command(["GET", "key"]).attributes
    assert (after[names.NETWORK_PEER_ADDRESS], after[names.NETWORK_PEER_PORT]) == ("10.0.0.1", 6379)
    assert after[names.SERVER_ADDRESS] == "redis.internal"
    late = target()
    targets.add(late)
    assert late.peer == "10.0.0.1"
    assert len(kept) == 2


def test_where_they_differ_none_is_told(targets: Targets) -> None:
    one = target()
    targets.add(one)
    first = connect(targets, "redis.internal", "10.0.0.1")
    second = connect(targets, "redis.internal", "10.0.0.2")
    assert one.peer == ""
    del first
    gc.collect()
    third = connect(targets, "redis.internal", "10.0.0.2")
    assert one.peer == "10.0.0.2"
    assert second is not third


def test_a_span_that_began_before_the_first_connection(targets: Targets) -> None:
    class Span(type(INVALID_SPAN)):  # type: ignore[misc]
        told: dict[str, Any]

        def is_recording(self) -> bool:
            return True

        def set_attributes(self, attributes: Any) -> None:
            self.told = dict(attributes)

    one = target()
    targets.add(one)
    one.waiting = waiting = Span(INVALID_SPAN.get_span_context())
    kept = connect(targets, "redis.internal", "10.0.0.1")
    assert waiting.told[names.NETWORK_PEER_ADDRESS] == "10.0.0.1"
    assert one.waiting is None
    assert kept.host == "redis.internal"


def test_connections_without_an_address(targets: Targets) -> None:
    class Broken(Connection):
        def __init__(self) -> None:
            self.host, self.port = "redis.internal", 6379

            class Closed:
                def getpeername(self) -> Any:
                    raise OSError("not connected")

            self._sock = Closed()  # type: ignore[assignment]

    assert place_of(object()) is None
    assert place_of(Connection("redis.internal", "10.0.0.1")) == ("redis.internal", 6379, "10.0.0.1")
    one = target()
    targets.add(one)
    made = Broken()
    assert targets.connected(lambda connection: connection)(made) is made
    assert one.peer == ""
