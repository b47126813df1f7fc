"""Commands that are told of when they are over: the same as with a span from their beginning on.

Without a server. A processor that cares for the start of spans has each of them be one.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, StaticSampler
from redis.backoff import NoBackoff
from redis.retry import Retry

sys.path.insert(0, str(Path(__file__).parent))

import redis_stub
from leaf_parts import Clock, Pipe, Starts, at_once, measured, objects_made, of_child, told
from redis_stub import Stub, client, client_async

from spanwise import names
from spanwise.context import SUPPRESSION_KEYS
from spanwise.instrumentors import _abandoned, _redis_observer
from spanwise.instrumentors.redis import RedisInstrumentor

DURATION = names.DB_CLIENT_OPERATION_DURATION.name
TOOK = 250_000_000  # nanoseconds of each answer
KINDS = {"sync": client, "asyncio": client_async}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN", raising=False)
    Stub.answers.clear()
    yield
    RedisInstrumentor().uninstrument()
    Stub.answers.clear()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Each answer takes a quarter of a second, and nothing else takes time."""
    made = Clock(monkeypatch, _redis_observer)
    original = redis_stub._next

    def answer(answers: Any) -> Any:
        made.work(TOOK)
        return original(answers)

    monkeypatch.setattr(redis_stub, "_next", answer)
    return made


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return objects_made(monkeypatch)


@pytest.fixture
def observed(tmp_path: Path) -> Iterator[Callable[..., Pipe]]:
    """Instruments with a delivery of its own."""
    made: list[Pipe] = []

    def instrument(*, classic: bool = False, sampler: Any = None, **options: Any) -> Pipe:
        RedisInstrumentor().uninstrument()
        made.append(Pipe(tmp_path, classic=classic, sampler=sampler))
        given = {"tracer_provider": made[-1].provider, "meter_provider": made[-1].meters, "info": False}
        RedisInstrumentor().instrument(**given, **options)
        return made[-1]

    yield instrument
    for each in made:
        each.source.discard()


def transaction(one: Any) -> Any:
    return one.pipeline().set("a", 1).get("a").execute()


async def changed_async(one: Any) -> None:
    async with one.pipeline() as pipe:
        await pipe.watch("a")
        pipe.multi()
        pipe.set("a", 1)
        await pipe.execute()


def changed(one: Any) -> Any:
    if isinstance(one, redis.asyncio.Redis):
        return changed_async(one)
    with one.pipeline() as pipe:
        pipe.watch("a")
        pipe.multi()
        pipe.set("a", 1)
        return pipe.execute()


WRONG = "WRONGTYPE Operation against a key holding the wrong kind of value"
OK, QUEUED = b"OK", b"QUEUED"

# What is answered, what is done, how many spans that makes, and whether each of them has failed.
STEPS: dict[str, tuple[Callable[[], list[Any]], Callable[[Any], Any], int, bool]] = {
    "command": (lambda: [b"1"], lambda one: one.get("key"), 1, False),
    "a command of three words": (list, lambda one: one.set("key", "value"), 1, False),
    "pipeline": (
        lambda: [OK, b"1"],
        lambda one: one.pipeline(transaction=False).set("a", 1).get("a").execute(),
        1,
        False,
    ),
    "transaction": (lambda: [OK, QUEUED, QUEUED, [OK, b"1"]], transaction, 1, False),
    "a watched key that changed": (lambda: [OK, OK, QUEUED, None], changed, 2, False),
    "failed command": (lambda: [redis.ResponseError(WRONG)], lambda one: one.lpush("a", 1), 1, True),
    "script that is missing": (
        lambda: [redis.exceptions.NoScriptError("No matching script. secret")],
        lambda one: one.evalsha("0" * 40, 0),
        1,
        True,
    ),
    "lost connection": (lambda: [redis.ConnectionError("away")], lambda one: one.get("key"), 1, True),
    "failed pipeline": (
        lambda: [OK, redis.ResponseError(WRONG)],
        lambda one: one.pipeline(transaction=False).set("a", 1).lpush("a", 1).execute(),
        1,
        True,
    ),
    "a signal": (lambda: [KeyboardInterrupt()], lambda one: one.get("key"), 1, True),
}


Step = tuple[Callable[[], list[Any]], Callable[[Any], Any]]


async def awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def new_client(kind: str) -> Any:
    retry: Any = Retry(NoBackoff(), 0) if kind == "sync" else redis.asyncio.retry.Retry(NoBackoff(), 0)
    return KINDS[kind](retry=retry)


def do(kind: str, *steps: Step, one: Any = None) -> list[str]:
    """Does the steps with one client, by default a new one; what each of them gave or raised."""
    one = one or new_client(kind)
    found = []

    async def all_of_them() -> None:
        for answers, step in steps:
            Stub.answers.clear()
            Stub.answers.extend(answers())
            try:
                found.append(str(await awaited(step(one))))
            except BaseException as error:
                found.append(f"{type(error).__name__}: {error}")

    asyncio.run(all_of_them())
    return found


GET: Step = (list, lambda one: one.get("key"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("opted", ["", "database/dup", "http"])
def test_the_same_spans_and_durations(
    observed: Callable[..., Pipe],
    clock: Clock,
    objects: list[str],
    monkeypatch: pytest.MonkeyPatch,
    opted: str,
    step: str,
    kind: str,
) -> None:
    if opted:
        monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", opted)
    answers, action, each, failed = STEPS[step]
    found = []
    for classic in (False, True):
        clock.passed = 0
        pipe = observed(classic=classic)
        with pipe.request():
            do(kind, GET)  # shows whether somebody cares
        pipe.spans()
        with pipe.request() as request:
            objects.clear()
            results = do(kind, *[(answers, action)] * 3)
            made = list(objects)
        spans = pipe.spans()
        raised = failed or step == "a watched key that changed"  # what raises is a span, failed or not
        assert len(made) == (3 * each if classic else 3 * raised)
        assert pipe.starts.names.count("request") == 2 * classic
        found.append((results, [told(s, request) for s in spans], measured(pipe.points(DURATION), request)))
        assert len({span.span_id for span in spans}) == len(spans) == 3 * each
        assert [span.status.code == 2 for span in spans] == [failed] * len(spans)
        for span in spans:
            assert (span.end_time_unix_nano - span.start_time_unix_nano) % TOOK == 0
            assert span.end_time_unix_nano > span.start_time_unix_nano
            assert ("exception" in {event.name for event in span.events}) is failed
    assert found[0] == found[1]
    _, _, points = found[0]
    assert bool(points) is (opted != "http")
    if failed and opted != "http":
        assert any(names.ERROR_TYPE in dict(labels) for labels, *_ in points)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", ["command", "pipeline", "failed command"])
def test_its_duration_is_that_of_the_answers(
    observed: Callable[..., Pipe], clock: Clock, step: str, kind: str
) -> None:
    answers, action, *_ = STEPS[step]
    pipe = observed()
    with pipe.request():
        do(kind, GET)
        pipe.spans()
        before = clock.passed
        do(kind, (answers, action))
    (span,) = pipe.spans()
    assert span.start_time_unix_nano == Clock.START + before
    assert span.end_time_unix_nano == Clock.START + clock.passed
    assert span.end_time_unix_nano - span.start_time_unix_nano == TOOK * (2 if step == "pipeline" else 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classic", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_what_is_suppressed_is_not_observed(
    observed: Callable[..., Pipe], step: str, classic: bool, kind: str
) -> None:
    answers, action, *_ = STEPS[step]
    pipe = observed(classic=classic)
    one = new_client(kind)  # the same, which is known then
    with pipe.request():
        do(kind, GET, (answers, action), one=one)
    pipe.spans()
    (known, *_) = pipe.points(DURATION)
    with pipe.request(), suppress_instrumentation():
        do(kind, *[(answers, action), GET] * 2, one=one)
        do(kind, *[(answers, action), GET] * 2)
    assert pipe.spans() == []
    assert pipe.points(DURATION)[0].count == known.count


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", ["command", "pipeline", "failed command"])
def test_a_key_that_is_there_and_false_suppresses_nothing(
    observed: Callable[..., Pipe], step: str, kind: str
) -> None:
    answers, action, each, _ = STEPS[step]
    pipe = observed()
    one = new_client(kind)
    with pipe.request():
        do(kind, GET, one=one)
    pipe.spans()
    for key in SUPPRESSION_KEYS:
        with pipe.request(**{key: False}) as request:
            do(kind, *[(answers, action)] * 2, one=one)
        parent = request.get_span_context().span_id.to_bytes(8, "big")
        assert [span.parent_span_id for span in pipe.spans()] == [parent] * 2 * each


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", ["command", "pipeline"])
def test_a_processor_that_comes_sees_the_first_call_after(
    observed: Callable[..., Pipe], objects: list[str], step: str, kind: str
) -> None:
    answers, action, *_ = STEPS[step]
    pipe = observed()
    one = (answers, action)
    with pipe.request():
        do(kind, one, one)
        before = pipe.spans()
        starts = Starts()
        pipe.provider.add_span_processor(starts)
        objects.clear()
        do(kind, one, one, one)
    spans = pipe.spans()
    assert starts.names == objects == [span.name for span in spans] == [before[0].name] * 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", ["command", "pipeline"])
def test_who_cares_for_starts_is_told_before_anything_is_sent(
    observed: Callable[..., Pipe], monkeypatch: pytest.MonkeyPatch, step: str, kind: str
) -> None:
    answers, action, *_ = STEPS[step]
    pipe = observed(classic=True)
    seen: list[int] = []
    original = redis_stub._next

    def answer(answers: Any) -> Any:
        seen.append(len(pipe.starts.names))
        return original(answers)

    monkeypatch.setattr(redis_stub, "_next", answer)
    with pipe.request():
        do(kind, *[(answers, action)] * 3)
    each = len(seen) // 3
    assert seen == [2] * each + [3] * each + [4] * each  # the request's own is the first


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_request_it_is_a_span(observed: Callable[..., Pipe], objects: list[str], kind: str) -> None:
    pipe = observed()
    do(kind, GET, GET)
    assert objects == ["GET", "GET"]
    assert [span.parent_span_id for span in pipe.spans()] == [b"", b""]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", ["request_hook", "response_hook"])
@pytest.mark.parametrize("step", ["command", "pipeline", "failed command"])
def test_a_hook_gets_a_span_that_is_recorded(
    observed: Callable[..., Pipe], objects: list[str], step: str, which: str, kind: str
) -> None:
    answers, action, *_, failed = STEPS[step]

    def hook(span: Any, *_: Any) -> None:
        assert span.is_recording()
        span.set_attribute("mine", "yes")

    pipe = observed(**{which: hook})
    with pipe.request():
        objects.clear()
        do(kind, *[(answers, action)] * 3)
    spans = pipe.spans()
    assert len(spans) == len(objects) == 3
    # redis-py's pipelines and commands are no arguments of a request; a failure has no response.
    hooked = step != "pipeline" if which == "request_hook" else not failed
    assert [("mine" in {each.key for each in span.attributes}) for span in spans] == [hooked] * 3


def test_a_coroutine_that_is_thrown_away_ends_later(observed: Callable[..., Pipe], clock: Clock) -> None:
    """It says so in a finalizer, which may run on top of anything."""

    class Never:
        def __await__(self) -> Iterator[None]:
            yield

    class Stuck(redis_stub.AsyncStub):
        async def read_response(self, *_: Any, **__: Any) -> Any:
            clock.work(TOOK)
            await Never()

    pipe = observed()
    with pipe.request():
        do("asyncio", GET)
    pool = redis.asyncio.ConnectionPool(connection_class=Stuck, host="10.0.0.1")
    one = redis.asyncio.Redis(connection_pool=pool)

    async def waits() -> None:
        for _ in range(2):
            thrown = one.execute_command("GET", "key")
            thrown.send(None)
            thrown.close()

    with pipe.request():
        pipe.spans()
        asyncio.run(waits())
        assert len(_abandoned.waiting) == 2
        assert pipe.spans() == []
        _abandoned.end_abandoned()
    spans = pipe.spans()
    assert [(span.name, span.status.code) for span in spans] == [("GET", 2)] * 2
    assert [span.end_time_unix_nano - span.start_time_unix_nano for span in spans] == [TOOK] * 2


def test_one_that_is_thrown_away_within_a_sampler_asks_it_later(
    observed: Callable[..., Pipe], clock: Clock, objects: list[str]
) -> None:
    """The garbage collector runs anywhere: here, where a lock is held that a new span's sampler takes."""

    class Sampler(StaticSampler):
        def __init__(self) -> None:
            super().__init__(Decision.RECORD_AND_SAMPLE)
            self.lock = threading.Lock()
            self.asked: list[tuple[str, bool]] = []

        def should_sample(
            self, parent_context: Any, trace_id: int, name: str, *rest: Any, **more: Any
        ) -> Any:
            free = self.lock.acquire(blocking=False)  # who waits here waits for itself
            self.asked.append((name, free))
            try:
                if name == "collects":
                    gc.collect()
                return super().should_sample(parent_context, trace_id, name, *rest, **more)
            finally:
                if free:
                    self.lock.release()

    class Stuck(redis_stub.AsyncStub):
        async def read_response(self, *_: Any, **__: Any) -> Any:
            clock.work(TOOK)
            await asyncio.get_running_loop().create_future()

    sampler = Sampler()
    pipe = observed(sampler=ParentBased(sampler))
    do("asyncio", GET, GET)  # now it is known that nobody cares for starts
    sampler.asked.clear()
    pipe.arrived()
    objects.clear()
    pool = redis.asyncio.ConnectionPool(connection_class=Stuck, host="10.0.0.1")
    one = redis.asyncio.Redis(connection_pool=pool)

    async def forgets() -> None:
        thrown = one.execute_command("GET", "key")
        thrown.send(None)
        cycle = [thrown]
        cycle.append(cycle)

    async def works() -> None:
        await forgets()
        pipe.provider.get_tracer("app").start_span("collects").end()

    gc.disable()
    try:
        asyncio.run(works())
    finally:
        gc.enable()
    thrown_at = Clock.START + clock.passed
    assert (sampler.asked, objects) == ([("collects", True)], ["collects"])
    assert len(_abandoned.waiting) == 1
    assert [span.name for span in pipe.arrived()] == ["collects"]
    clock.work(3 * TOOK)
    _abandoned.end_abandoned()
    assert sampler.asked == [("collects", True), ("GET", True)]
    (span,) = pipe.arrived()
    assert (span.name, span.parent_span_id, span.status.code) == ("GET", b"", 2)
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (thrown_at - TOOK, thrown_at)
    kinds = [each.value.string_value for each in span.attributes if each.key == names.ERROR_TYPE]
    assert kinds == ["GeneratorExit"]
    (point,) = [each for each in pipe.points(DURATION) if names.ERROR_TYPE in each.attributes]
    assert (point.count, point.sum) == (1, TOOK / 1e9)


def test_one_that_is_cancelled(observed: Callable[..., Pipe], clock: Clock) -> None:
    found = []
    for classic in (False, True):
        clock.passed = 0
        pipe = observed(classic=classic)
        with pipe.request():
            do("asyncio", GET)
        pipe.spans()
        with pipe.request() as request:
            assert do("asyncio", (lambda: [asyncio.CancelledError()], GET[1])) == ["CancelledError: "]
        found.append([told(span, request) for span in pipe.spans()])
    assert found[0] == found[1]
    assert "CancelledError" in found[0][0]


def test_concurrent_coroutines_keep_their_parents(observed: Callable[..., Pipe], objects: list[str]) -> None:
    pipe = observed()
    expected = {}

    async def serve(one: Any, number: int) -> None:
        with pipe.request() as request:
            expected[request.get_span_context().span_id.to_bytes(8, "big")] = number
            for _ in range(5):
                await asyncio.sleep(0)
                await one.get("key")

    async def all_of_them() -> None:
        one = client_async()
        with pipe.request():
            await one.get("key")
        pipe.spans()
        objects.clear()
        await asyncio.gather(*(serve(one, number) for number in range(4)))

    asyncio.run(all_of_them())
    parents = [span.parent_span_id for span in pipe.spans() if span.parent_span_id]
    assert {parent: parents.count(parent) for parent in expected} == dict.fromkeys(expected, 5)
    assert objects == ["request"] * 4


def test_threads_keep_their_parents(observed: Callable[..., Pipe], objects: list[str]) -> None:
    pipe, one = observed(), client()
    with pipe.request():
        one.get("key")
    pipe.spans()
    objects.clear()
    parents: list[bytes] = []

    def serve(_: int) -> None:
        with pipe.request() as request:
            parents.append(request.get_span_context().span_id.to_bytes(8, "big"))
            for _ in range(100):
                one.get("key")
                one.pipeline(transaction=False).get("a").get("b").execute()

    at_once(4, serve)
    spans = pipe.spans()
    assert sorted(objects) == ["request"] * 4
    assert len({span.span_id for span in spans}) == len(spans) == 800
    found = [(span.parent_span_id, span.name) for span in spans]
    expected = {(parent, name) for parent in parents for name in ("GET", "PIPELINE GET")}
    assert {each: found.count(each) for each in found} == dict.fromkeys(expected, 100)
    assert sum(point.count for point in pipe.points(DURATION)) == 801


def test_a_forked_child_tells_of_its_own(observed: Callable[..., Pipe], objects: list[str]) -> None:
    pipe, one = observed(), client()
    with pipe.request() as request:
        for _ in range(2):
            one.get("key")
        objects.clear()

        def work() -> None:
            one.get("key")
            one.get("key")
            assert objects == []

        theirs = of_child(pipe, work)
        one.get("key")
    ours = pipe.spans()
    assert ([span.name for span in ours], [span.name for span in theirs]) == (["GET"] * 3, ["GET"] * 2)
    assert len({span.span_id for span in (*ours, *theirs)}) == 5
    parent = request.get_span_context().span_id.to_bytes(8, "big")
    assert {span.parent_span_id for span in (*ours, *theirs)} == {parent}


def test_after_uninstrument_nothing_is_told(observed: Callable[..., Pipe]) -> None:
    pipe, one = observed(), client()
    with pipe.request():
        for _ in range(2):
            one.get("key")
        assert len(pipe.spans()) == 2
        RedisInstrumentor().uninstrument()
        one.get("key")
        assert pipe.spans() == []
        other = observed()
        one.get("key")
        assert pipe.spans() == []
    assert [span.name for span in other.spans()] == ["GET"]


def test_the_application_s_own_failure_goes_on_unchanged(observed: Callable[..., Pipe]) -> None:
    pipe, one = observed(), client(retry=Retry(NoBackoff(), 0))
    with pipe.request():
        one.get("key")
        error = redis.ResponseError("no")
        Stub.answers.append(error)
        with pytest.raises(redis.ResponseError) as caught:
            one.get("key")
    assert caught.value is error
    assert error.__context__ is None
