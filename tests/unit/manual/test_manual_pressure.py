"""Memory pressure: recorded, and answered once for each crossing, on a thread of the hook's own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spanwise
from spanwise import names
from spanwise.log import own_threads
from spanwise.manual import pressure
from spanwise.meters.memory import Crossing
from spanwise.threads import Event

MB = 1_000_000
EVENTS, BEFORE, DISPOSED = (
    names.MEMORY_PRESSURE_EVENTS.name,
    names.MEMORY_PRESSURE_BEFORE.name,
    names.MEMORY_PRESSURE_DISPOSED.name,
)


class Memory:
    """Memory that a test sets, looked at as fast as the watch can."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.used, self._looks = 0, threading.Semaphore(0)
        monkeypatch.setattr(pressure, "_EVERY", 0.001)
        monkeypatch.setattr(pressure, "resident_bytes", self._look)

    def _look(self) -> int:
        if own_threads.get(threading.get_ident()) == "spanwise-memory":
            self._looks.release()
        return self.used

    def becomes(self, megabytes: float) -> None:
        """Returns when the watch has seen it, and acted."""
        self.used = int(megabytes * MB)
        while self._looks.acquire(blocking=False):
            pass
        for _ in range(3):
            assert self._looks.acquire(timeout=60), "nobody looks at the memory"


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Memory]:
    yield Memory(monkeypatch)
    for reaction in list(pressure._watcher._reactions):
        reaction.cancel()
    thread = pressure._watcher._thread
    if thread is not None:
        thread.join(60)
        assert not thread.is_alive(), "the watch goes on without anything to watch for"


def calls_of() -> tuple[list[float], Callable[[float], None], threading.Semaphore]:
    called: list[float] = []
    done = threading.Semaphore(0)

    def hook(used_mb: float) -> None:
        called.append(used_mb)
        done.release()

    return called, hook, done


@given(st.lists(st.integers(0, 20)))
def test_a_crossing_is_told_once_until_memory_has_fallen(levels: list[int]) -> None:
    crossing, above = Crossing(10, 5), False
    for level in levels:
        expected = not above and level > 10
        assert crossing.crossed(level) is expected
        above = level >= 5 if above else expected


def test_a_hook_is_called_once_for_each_crossing(memory: Memory) -> None:
    called, hook, done = calls_of()
    spanwise.on_memory_pressure(500, hook)
    for level in (400, 500, 600, 450.1, 700):
        memory.becomes(level)
    assert done.acquire(timeout=60)
    for level in (449, 501):
        memory.becomes(level)
    assert done.acquire(timeout=60)
    assert called == [600.0, 501.0]


def test_each_hook_is_isolated(memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    release, hanging = threading.Event(), threading.Event()

    @spanwise.on_memory_pressure(500)
    def raises(used_mb: float) -> None:
        raise OSError(f"at {used_mb}")

    @spanwise.on_memory_pressure(500)
    def hangs(_: float) -> None:
        hanging.set()
        release.wait(60)

    _, hook, done = calls_of()
    spanwise.on_memory_pressure(500, hook)
    memory.becomes(600)
    assert done.acquire(timeout=60)
    assert hanging.wait(60)
    memory.becomes(100)
    memory.becomes(600)
    assert done.acquire(timeout=60), "a hook that hangs stopped the others"
    release.set()
    with pytest.raises(OSError, match="at 3"):
        raises(3)
    assert "a hook of on_memory_pressure raised OSError: at 600.0" in caplog.text


def test_what_a_hook_did_is_recorded(memory: Memory, observed: Any) -> None:
    players = [spanwise.controllers.track(Thing()) for _ in range(3)]

    @spanwise.on_memory_pressure(500)
    def free(_: float) -> None:
        players.clear()

    @spanwise.on_memory_pressure(550)
    async def also(_: float) -> int:
        return 7

    memory.becomes(501)
    recorded(observed, 1)
    memory.becomes(560)
    recorded(observed, 2)
    spans = observed.spans()
    assert [span.attributes[DISPOSED] for span in spans] == [3, 7]
    assert spans[0].attributes[BEFORE] == 501 * MB
    assert observed.points()[DISPOSED] == {(): 10}


class Thing:
    """A controller."""


def recorded(observed: Any, count: int) -> None:
    """Waits until so many answers are there, their spans too: those end after they were counted."""
    end = time.monotonic() + 60
    while observed.points().get(EVENTS, {}).get((), 0) < count or len(observed.spans()) < count:
        assert time.monotonic() < end, f"{count} answers were not recorded"
        time.sleep(0.01)


def test_a_cancelled_hook_is_not_called(memory: Memory) -> None:
    called, hook, _ = calls_of()
    _, other, done = calls_of()
    spanwise.on_memory_pressure(500, hook).cancel()
    spanwise.on_memory_pressure(500, other)
    memory.becomes(600)
    assert done.acquire(timeout=60)
    assert called == []


@pytest.mark.parametrize(
    ("limit", "below", "said"),
    [
        ("500", None, "limit_mb is '500': give megabytes, above 0"),
        (0, None, "limit_mb is 0"),
        (float("nan"), None, "limit_mb is nan"),
        (500, 600, "falls_below_mb (600) is above limit_mb (500)"),
        (500, "x", "falls_below_mb is 'x'"),
    ],
)
def test_a_wrong_limit_is_told(caplog: pytest.LogCaptureFixture, limit: Any, below: Any, said: str) -> None:
    def hook(_: float) -> None: ...

    assert spanwise.on_memory_pressure(limit, falls_below_mb=below)(hook) is hook
    assert said in caplog.text
    assert pressure._watcher._reactions == []


def test_a_hook_that_is_none_is_told(caplog: pytest.LogCaptureFixture) -> None:
    spanwise.on_memory_pressure(500, "free")  # type: ignore[arg-type]
    assert "must be a function, not 'free'" in caplog.text


def test_memory_pressure_by_hand(observed: Any) -> None:
    held = [spanwise.controllers.track(Thing()) for _ in range(4)]
    with spanwise.memory_pressure():
        del held[1:]
    with spanwise.memory_pressure() as by_hand:
        by_hand.disposed(2)
    spanwise.memory_pressure().record(before_mb=512, controllers_disposed=1)

    @spanwise.memory_pressure()
    def free() -> None:
        held.clear()

    free()
    assert [span.attributes[DISPOSED] for span in observed.spans()] == [3, 2, 1, 1]
    assert observed.spans()[2].attributes[BEFORE] == 512 * MB
    points = observed.points()
    assert points[EVENTS] == {(): 4}
    assert points[DISPOSED] == {(): 7}
    assert points[BEFORE][()][0] == 4


def test_figures_that_are_none_are_told(caplog: pytest.LogCaptureFixture) -> None:
    spanwise.memory_pressure().record(before_mb=-1, controllers_disposed=1)
    with spanwise.memory_pressure() as answered:
        answered.disposed(-1)
    assert "before_mb is -1" in caplog.text
    assert "a number from 0 on, not -1" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_watches_too() -> None:
    code = """
    import os, sys, threading
    import spanwise
    from spanwise.manual import pressure
    pressure._EVERY = 0.001
    parent, called = os.getpid(), threading.Event()
    level, busy = [0], threading.Event()
    pressure.resident_bytes = lambda: level[0]

    def hook(used):
        if os.getpid() == parent:
            busy.set()
            threading.Event().wait()  # for ever: the fork comes meanwhile
        called.set()

    spanwise.on_memory_pressure(1, hook)
    level[0] = 10_000_000
    assert busy.wait(60)
    level[0] = 0
    looks = pressure._watcher._reactions[0]._crossing
    while looks._above:
        pass
    child = os.fork()
    if not child:
        level[0] = 10_000_000
        os._exit(0 if called.wait(60) else 3)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or called.is_set())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


class _Impatient(Event):
    """Counts the waits that were none."""

    at_once = 0

    def wait(self, timeout: float | None = None) -> bool:
        if self.is_set():
            self.at_once += 1
        return super().wait(timeout)


def test_cancelling_and_watching_again_leaves_no_spinning_thread(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    stirred = _Impatient()
    monkeypatch.setattr(pressure._watcher, "_stirred", stirred)
    _, hook, _ = calls_of()
    memory.used = 0
    first = spanwise.on_memory_pressure(500, hook)
    first.cancel()
    spanwise.on_memory_pressure(500, hook)
    for _ in range(5):
        memory.becomes(1)
    assert stirred.at_once <= 1


def test_cancelling_the_last_one_ends_the_watch_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pressure, "_EVERY", 600.0)
    waiting = threading.Event()

    class Waited(Event):
        def wait(self, timeout: float | None = None) -> bool:
            waiting.set()
            return super().wait(timeout)

    monkeypatch.setattr(pressure._watcher, "_stirred", Waited())
    reaction = spanwise.on_memory_pressure(500, lambda _: None)
    thread = pressure._watcher._thread
    assert thread is not None
    assert waiting.wait(60)
    reaction.cancel()
    thread.join(60)
    assert not thread.is_alive()


def test_an_error_without_a_text_is_told(memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    @spanwise.on_memory_pressure(500)
    def raises(_: float) -> None:
        raise Mute

    memory.becomes(600)
    end = time.monotonic() + 60
    while "a hook of on_memory_pressure raised Mute: <Mute>" not in caplog.text:
        assert time.monotonic() < end, caplog.text
        time.sleep(0.01)
