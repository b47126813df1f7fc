"""Whatever a destination answers: nothing is lost uncounted, nothing spins, and nothing blocks for good."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otlp_destinations import TAKEN, Clock, Destination, channel
from spanwise.deliver.answer import Answer, Fate
from spanwise.deliver.channel import MOST_HELD, TRIES, TRIES_OVERTAKEN


def partly(count: int) -> Answer:
    """An answer by which some items were not taken."""
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = count
    return Answer(Fate.DELIVERED, body=response.SerializeToString())


ANSWERS = st.one_of(
    st.just(TAKEN),
    st.builds(partly, st.integers(0, 20)),
    st.builds(
        Answer,
        st.sampled_from([fate for fate in Fate if fate is not Fate.DELIVERED]),
        st.sampled_from(["400", "413", "500", "503", "TimeoutError"]),
        st.none() | st.floats(0, 1000),
        st.just(b""),
        st.booleans(),
    ),
)


class Books(RuleBasedStateMachine):
    """Offers, steps and drains in any order, against answers of any kind."""

    @initialize(
        answers=st.lists(ANSWERS, min_size=1, max_size=12),
        signal=st.sampled_from(["traces", "metrics"]),
        batch=st.integers(1, 12),
        capacity=st.integers(1, 60),
        delay=st.sampled_from([0.0, 5.0]),
    )
    def begin(self, answers: list[Answer], signal: str, batch: int, capacity: int, delay: float) -> None:
        turn = iter(answers * 10_000)
        self.destination = Destination(lambda items, size: next(turn))
        self.clock = Clock()
        self.recorded = 0
        self.channel = channel(
            self.destination, signal=signal, capacity=capacity, batch=batch, delay=delay, clock=self.clock
        )

    @rule(count=st.integers(1, 40))
    def offer(self, count: int) -> None:
        for _ in range(count):
            self.channel.offer(self.recorded)
            self.recorded += 1

    @rule(seconds=st.floats(0, 400))
    def step(self, seconds: float) -> None:
        self.clock.now += seconds
        due, asked = self.channel.due(self.clock.now), len(self.destination.asked)
        self.channel.step(self.clock.now)
        assert due > 0 or len(self.destination.asked) > asked, "woken for nothing: the thread would spin"
        assert self.channel.due(self.clock.now) > 0, "it is done for now"

    @rule()
    def drain(self) -> None:
        drained = self.channel.drain(self.clock.now + 60)
        assert drained is (self.channel.waiting == 0)

    @rule()
    def abandon(self) -> None:
        waiting = self.channel.waiting
        assert self.channel.abandon("exit") == waiting
        assert self.channel.waiting == 0

    @invariant()
    def all_is_in_the_books(self) -> None:
        account = self.channel.account
        assert self.recorded == account.delivered + sum(account.drops().values()) + self.channel.waiting
        assert min(account.drops().values(), default=1) > 0
        # What was delivered arrived, but for what partial success took back; metrics count by collection.
        if account.signal == "traces":
            assert account.delivered + account.drops().get("rejected", 0) == len(self.destination.taken)

    @invariant()
    def little_is_in_hand(self) -> None:
        assert len(self.channel._held) <= MOST_HELD


Books.TestCase.settings = settings(max_examples=150, stateful_step_count=30)
TestBooks = Books.TestCase


def run(made: Any, clock: Clock, seconds: float) -> None:
    """Lets a thread look after the channel for so long: it sleeps until something is due."""
    end = clock.now + seconds
    while clock.now < end:
        made.step(clock.now)
        clock.now += max(0.0, min(made.due(clock.now), end - clock.now))


def poisoned(fate: Fate, bad: set[str], reason: str = "no") -> Destination:
    """Takes everything but requests with a bad item in them."""
    return Destination(lambda items, _: Answer(fate, reason) if bad & set(items) else TAKEN)


@settings(max_examples=80)
@given(st.integers(2, 600), st.data())
def test_one_malformed_item_is_found_with_few_requests_and_the_rest_arrives(count: int, data: Any) -> None:
    bad = str(data.draw(st.integers(0, count - 1)))
    destination = poisoned(Fate.MALFORMED, {bad}, "400")
    made = channel(destination, batch=count)
    made.offer("first")
    assert made.drain(1e9)
    destination.asked.clear()
    for number in range(count):
        made.offer(number)
    assert made.drain(1e9)
    assert sorted(destination.taken) == sorted(["first", *(str(n) for n in range(count) if str(n) != bad)])
    assert made.account.drops() == {"400": 1}
    assert ([bad], Fate.MALFORMED) in destination.asked, "it was refused alone"
    assert len(destination.asked) - 1 <= 2 * (count - 1).bit_length(), "2·log₂n after the first"


@settings(max_examples=50)
@given(st.integers(2, 300), st.data())
def test_of_several_malformed_items_the_bound_holds_and_the_loss_is_counted(count: int, data: Any) -> None:
    bad = {str(n) for n in data.draw(st.sets(st.integers(0, count - 1), min_size=1))}
    destination = poisoned(Fate.MALFORMED, bad, "400")
    made = channel(destination, batch=count)
    made.offer("first")
    assert made.drain(1e9)
    destination.asked.clear()
    for number in range(count):
        made.offer(number)
    assert made.drain(1e9)
    assert len(destination.asked) - 1 <= 2 * (count - 1).bit_length()
    assert made.account.delivered + made.account.drops()["400"] == count + 1
    assert made.account.delivered == len(destination.taken)


def test_a_destination_that_refuses_everything_is_not_asked_for_every_item() -> None:
    destination = Destination(lambda items, _: Answer(Fate.MALFORMED, "400"))
    made = channel(destination, batch=64)
    for number in range(640):
        made.offer(number)
    assert made.drain(1e9)
    assert made.account.drops() == {"400": 640}
    assert len(destination.asked) == 12, "the first was halved once, the others were not"
    destination.answer = lambda items, _: Answer(Fate.MALFORMED, "400") if "x" in items else TAKEN
    for item in (*range(64), *range(63), "x"):
        made.offer(item)
    assert made.drain(1e9)
    assert made.account.drops() == {"400": 641}, "it takes others again, so that one is looked for"


def test_the_very_first_request_is_searched_too() -> None:
    destination = poisoned(Fate.MALFORMED, {"17"}, "400")
    made = channel(destination, batch=64)
    for number in range(64):
        made.offer(number)
    assert made.drain(1e9)
    assert (len(destination.taken), made.account.drops()) == (63, {"400": 1})


@settings(max_examples=50)
@given(st.integers(1, 400), st.integers(200, 3000))
def test_what_is_too_large_goes_in_parts(count: int, limit: int) -> None:
    destination = Destination(lambda _, size: Answer(Fate.TOO_LARGE, "413") if size > limit else TAKEN)
    made = channel(destination, batch=count)
    for number in range(count):
        made.offer(f"item {number}")
    assert made.drain(1e9)
    assert made.account.drops() == {}
    assert len(destination.taken) == count
    refused = sum(fate is Fate.TOO_LARGE for _, fate in destination.asked)
    assert refused <= 1 + 2 * (count - 1).bit_length()


def test_one_item_that_is_too_large_costs_itself() -> None:
    destination = Destination(lambda _, size: Answer(Fate.TOO_LARGE, "413") if size > 300 else TAKEN)
    made = channel(destination, batch=16)
    for number in range(15):
        made.offer(number)
    made.offer("x" * 120)  # a length of one byte
    made.offer("y")
    assert made.drain(1e9)
    assert made.account.drops() == {}
    destination.answer = lambda items, _: (
        Answer(Fate.TOO_LARGE, "413") if max(map(len, items)) > 100 else TAKEN
    )
    for item in (*range(7), "x" * 120, *range(8)):
        made.offer(item)
    assert made.drain(1e9)
    assert made.account.drops() == {"413": 1}
    assert len(destination.taken) == 17 + 15


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
@pytest.mark.parametrize("fate", [Fate.RETRY_FEW, Fate.RETRY])
def test_one_request_that_always_fails_blocks_nothing(signal: str, fate: Fate) -> None:
    clock, destination = Clock(), poisoned(fate, {"bad"}, "some reason")
    made = channel(
        destination, signal=signal, batch=1, delay=0.0 if signal == "metrics" else 5.0, clock=clock
    )
    made.offer("bad")
    run(made, clock, 1)
    for number in range(200):
        made.offer(number)
        run(made, clock, 0.5)
    assert destination.taken == [str(number) for number in range(200)], "in their order"
    if fate is Fate.RETRY_FEW:
        assert made.account.drops() == {"some reason": 1}
        assert [items for items, _ in destination.asked].count(["bad"]) <= TRIES
    else:
        assert made.account.drops() == {}, "as long as there is room"
        assert made.waiting == 1
        assert [items for items, _ in destination.asked].count(["bad"]) <= 12, "at growing intervals"


def test_a_bad_request_gets_a_few_attempts_where_others_are_taken() -> None:
    clock, destination = Clock(), poisoned(Fate.RETRY_FEW, {"bad"}, "500")
    made = channel(destination, batch=1, clock=clock)
    for item in ("bad", *range(10)):
        made.offer(item)
    run(made, clock, 60)
    assert [items for items, _ in destination.asked].count(["bad"]) == TRIES_OVERTAKEN
    assert destination.asked[0][0] == ["bad"]
    assert len(destination.taken) == 10


def test_a_destination_that_fails_for_a_while_loses_nothing() -> None:
    """A deployment behind a proxy that answers 500 for half a minute's sake."""
    clock, destination = Clock(), Destination(lambda items, _: Answer(Fate.RETRY_FEW, "500"))
    made = channel(destination, batch=5, clock=clock)
    for number in range(50):
        made.offer(number)
    run(made, clock, 8)
    assert len(destination.asked) < 12, "it is not hammered either"
    destination.answer = lambda items, _: TAKEN
    run(made, clock, 60)
    assert sorted(map(int, destination.taken)) == list(range(50))
    assert made.account.drops() == {}


def test_a_destination_that_always_fails_costs_what_it_is_given_and_no_more_attempts() -> None:
    clock, destination = Clock(), Destination(lambda items, _: Answer(Fate.RETRY_FEW, "500"))
    made = channel(destination, batch=1, clock=clock)
    made.offer("only")
    run(made, clock, 3600)
    assert made.account.drops() == {"500": 1}
    assert len(destination.asked) == TRIES


@pytest.mark.parametrize("many", [3, 10])
def test_many_bad_requests_block_nothing_either(many: int) -> None:
    clock, destination = (
        Clock(),
        Destination(lambda items, _: Answer(Fate.RETRY, "503") if items[0].startswith("bad") else TAKEN),
    )
    made = channel(destination, batch=1, clock=clock)
    for number in range(many):
        made.offer(f"bad {number}")
        made.offer(number)
    run(made, clock, 600)
    made.offer("last")
    run(made, clock, 60)
    assert sorted(destination.taken) == sorted([*map(str, range(many)), "last"])
    assert made.account.drops().get("503", 0) + made.waiting == many
    assert made.waiting < MOST_HELD


def test_what_is_set_aside_holds_half_of_a_queue_at_most() -> None:
    clock, destination = Clock(), poisoned(Fate.RETRY, {"bad"}, "503")
    made = channel(destination, batch=6, capacity=10, clock=clock)
    for item in ("bad", *range(9)):
        made.offer(item)
    run(made, clock, 60)
    for number in range(9, 15):
        made.offer(number)
    run(made, clock, 60)
    assert made.account.drops() == {"503": 6}
    assert made.waiting == 0


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=30))
def test_what_waited_for_a_connection_arrives_in_its_order(outage: list[tuple[int, bool]]) -> None:
    away = Answer(Fate.RETRY, "ConnectionRefusedError", reached=False)
    clock, answers = Clock(), {"now": TAKEN}
    destination = Destination(lambda items, _: answers["now"])
    made = channel(destination, batch=3, clock=clock)
    number = 0
    for count, up in outage:
        answers["now"] = TAKEN if up else away
        for _ in range(count):
            made.offer(number)
            number += 1
        run(made, clock, 20)
    answers["now"] = TAKEN
    run(made, clock, 60)
    assert destination.taken == [str(each) for each in range(number)]


def test_a_sender_that_raises_is_one_that_failed() -> None:
    for error in (ValueError, OSError):
        clock, calls = Clock(), [error("planted")] * 2

        def answer(_: list[str], __: int, calls: list[Exception] = calls) -> Answer:
            if calls:
                raise calls.pop()
            return TAKEN

        destination = Destination(answer)
        made = channel(destination, clock=clock)
        made.offer("one")
        run(made, clock, 60)
        assert destination.taken == ["one"]
