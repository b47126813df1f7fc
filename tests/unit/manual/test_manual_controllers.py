"""Controllers: counted by state, never kept alive, limited, disposed of."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

import spanwise
from spanwise import names
from spanwise.artefacts.prometheus import rules_file
from spanwise.meters.weakly import WeakTable
from spanwise.thresholds.load import load, lower

controllers = spanwise.controllers


@dataclass
class Player:
    """Neither hashable nor told from another by comparison."""

    track: int = 0


@pytest.fixture(autouse=True)
def _own(observed: Any) -> Iterator[None]:
    return observed and None


def by_state(observed: Any) -> dict[str, int]:
    points = observed.points()[names.CONTROLLER_COUNT.name]
    return {dict(key)[names.CONTROLLER_STATE]: count for key, count in points.items()}


def test_states_and_their_total(observed: Any) -> None:
    assert observed.points() == {}, "series of controllers without any"
    players = [controllers.track(Player(), n) for n in range(4)]
    controllers.ready(players[0])
    controllers.ready(players[1])
    controllers.failed(players[2])
    controllers.limit = 20
    assert controllers.counts() == (4, 2, 1, 1, 20, 0)
    assert by_state(observed) == {"ready": 2, "loading": 1, "failed": 1}
    points = observed.points()
    assert points[names.CONTROLLER_ACTIVE.name] == {(): 4}, "the total must be one series of its own"
    assert points[names.CONTROLLER_LIMIT.name] == {(): 20}
    assert points[names.CONTROLLER_DISPOSAL_ERRORS.name] == {(): 0}
    controllers.disposed(players[0])
    assert controllers.counts().total == 3


def test_the_shipped_rule_sees_the_total() -> None:
    rules = yaml.safe_load(rules_file(lower(load())))["groups"][0]["rules"]
    expressions = {rule["expr"] for rule in rules if rule["alert"] == "controllers"}
    assert expressions == {"controller_active > 15", "controller_active > 20"}


def test_tracking_keeps_nothing_alive() -> None:
    player = controllers.track(Player())
    with controllers.loading(player):
        pass
    gone = weakref.ref(player)
    del player
    gc.collect()
    assert gone() is None
    assert controllers.counts().total == 0


def test_loading_and_disposal_as_with(observed: Any) -> None:
    player = controllers.track(Player(), "track-17", state="failed")
    with controllers.loading(player):
        assert by_state(observed)["loading"] == 1
    assert by_state(observed)["ready"] == 1
    with pytest.raises(OSError, match="damaged"), controllers.loading(player):
        raise OSError("damaged")
    assert by_state(observed)["failed"] == 1
    with (
        pytest.raises(RuntimeError, match="stuck"),
        spanwise.operation("free"),
        controllers.disposal(player),
    ):
        raise RuntimeError("stuck")
    assert controllers.counts() == (0, 0, 0, 0, None, 1)
    assert observed.points()[names.CONTROLLER_DISPOSAL_ERRORS.name] == {(): 1}
    event = observed.span().events[0]
    assert event.name == names.CONTROLLER_DISPOSAL_ERROR_EVENT
    assert event.attributes[names.CONTROLLER_ID] == "track-17"
    assert event.attributes[names.EXCEPTION_TYPE] == "RuntimeError"


def test_loading_and_disposal_as_decorators() -> None:
    class Film:
        def __init__(self) -> None:
            controllers.track(self)

        @controllers.loading()
        async def load(self, fail: bool) -> int:
            await asyncio.sleep(0)
            if fail:
                raise OSError("damaged")
            return 3

        @controllers.disposal()
        def close(self) -> str:
            return "closed"

    films = [Film(), Film()]
    assert asyncio.run(films[0].load(False)) == 3
    with pytest.raises(OSError, match="damaged"):
        asyncio.run(films[1].load(True))
    assert controllers.counts()[:4] == (2, 1, 0, 1)
    assert films[0].close() == "closed"
    assert controllers.counts()[:4] == (1, 0, 0, 1)


def test_what_was_disposed_of_while_loading_does_not_come_back() -> None:
    player = controllers.track(Player())
    with controllers.loading(player):
        controllers.disposed(player)
    controllers.ready(player)
    controllers.failed(player)
    assert controllers.counts().total == 0


def test_disposal_errors_by_hand(observed: Any) -> None:
    player = controllers.track(Player(), "p")
    with spanwise.operation("free"):
        controllers.disposed(player, "its file is locked")
    assert controllers.counts().disposal_errors == 1
    assert observed.span().events[0].attributes[names.EXCEPTION_MESSAGE] == "its file is locked"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: controllers.track(Player(), state="reddy"), "'reddy' is no state of a controller. Did you"),
        (lambda: controllers.track(7), "a int cannot be referenced weakly"),
        (lambda: setattr(controllers, "limit", -1), "not -1"),
        (lambda: setattr(controllers, "limit", "many"), "not 'many'"),
    ],
)
def test_a_wrong_argument_is_told(caplog: pytest.LogCaptureFixture, call: Any, said: str) -> None:
    call()
    assert said in caplog.text
    assert controllers.counts() == (0, 0, 0, 0, None, 0)


def test_the_controller_comes_back_whatever_it_is() -> None:
    assert controllers.track(7) == 7


def test_the_table_tells_by_identity_and_survives_reused_addresses() -> None:
    table: WeakTable[int] = WeakTable()
    twins = [Player(1), Player(1)]
    for n, twin in enumerate(twins):
        table.set(twin, n)
    table.set(twins[0], 5)
    assert sorted(table.values()) == [1, 5]
    assert table.get(Player(1)) is None
    assert not table.remove(Player(1))
    assert table.remove(twins[0])
    assert not table.remove(twins[0])
    # Of a thousand short-lived objects many have the same address.
    for n in range(1000):
        table.set(Player(n), n)
    gc.collect()
    assert table.values() == [1]
