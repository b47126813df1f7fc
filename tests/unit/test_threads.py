"""How a thread of ours starts, and that nothing but its work's end ends it."""

from __future__ import annotations

import ast
import logging
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from spanwise import threads
from spanwise.log import Log, own_threads
from spanwise.threads import Event, must_pass, start_waiting, started, started_task

SOURCE = Path(__file__).resolve().parents[2] / "src" / "spanwise"
LONG = 30.0


class OfTheApplication(BaseException):
    """As gevent.Timeout is: no Exception."""


@pytest.fixture(autouse=True)
def as_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was reported yet, and no pause takes long."""
    monkeypatch.setattr(threads, "_reported", set())
    monkeypatch.setattr(threads, "_refused", False)
    monkeypatch.setattr(threads, "_waiting", [])
    monkeypatch.setattr(threads, "_next_try", 0.0)
    monkeypatch.setattr(threads, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(threads, "_LONGEST_PAUSE", 0.02)


@pytest.mark.parametrize(
    "error", [ValueError, SystemExit, KeyboardInterrupt, MemoryError, GeneratorExit, OfTheApplication]
)
def test_whatever_ends_the_work_it_is_begun_again(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    runs: list[str] = []

    def work() -> None:
        runs.append(own_threads[threading.get_ident()])
        if len(runs) < 4:
            raise error("planted")

    thread = started(work, "spanwise-tested")
    assert thread is not None
    thread.join(LONG)
    assert runs == ["spanwise-tested"] * 4
    lines = [(record.levelname, record.exc_info is not None) for record in caplog.records]
    assert lines == [("ERROR", True), ("DEBUG", True), ("DEBUG", True)], "told once, with what it was"


def test_work_that_ends_is_not_begun_again() -> None:
    runs: list[int] = []
    thread = started(lambda: runs.append(1), "spanwise-tested")
    assert thread is not None
    thread.join(LONG)
    assert (runs, thread.is_alive()) == ([1], False)


def test_the_pause_after_a_failure_ends_with_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without that, the end of the process would wait for a pause, or not have the work tidied up."""
    monkeypatch.setattr(threads, "_FIRST_PAUSE", 3600.0)
    ended, failed = Event(), Event()
    seen: list[bool] = []

    def work() -> None:
        seen.append(ended.is_set())
        failed.set()
        raise ValueError

    thread = started(work, "spanwise-tested", ended)
    assert thread is not None
    assert failed.wait(LONG)
    ended.set()
    thread.join(LONG)
    assert not thread.is_alive()
    assert seen == [False, True], "once more, to tidy up, and no further"


def test_the_pauses_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    class Never(Event):
        def is_set(self) -> bool:
            return len(pauses) >= 9

        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout or 0.0)
            return False

    monkeypatch.setattr(threads, "_FIRST_PAUSE", 1.0)
    monkeypatch.setattr(threads, "_LONGEST_PAUSE", 60.0)

    def work() -> None:
        raise ValueError

    thread = started(work, "spanwise-tested", Never())
    assert thread is not None
    thread.join(LONG)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_task_is_done_once_and_what_it_raises_is_told(caplog: pytest.LogCaptureFixture) -> None:
    runs: list[int] = []

    def task() -> None:
        runs.append(1)
        raise SystemExit(3)

    thread = started_task(task, "spanwise-tested")
    assert thread is not None
    thread.join(LONG)
    assert runs == [1]
    assert "spanwise-tested failed unexpectedly, and has not done its work" in caplog.text


def test_only_on_a_thread_of_ours_is_everything_survived() -> None:
    answers: list[tuple[bool, bool]] = []

    def ask() -> None:
        answers.append((must_pass(SystemExit()), must_pass(ValueError())))

    ask()
    thread = started(ask, "spanwise-tested")
    assert thread is not None
    thread.join(LONG)
    assert answers == [(True, False), (False, False)]


NO_ROOM = """
import logging, threading
from spanwise import threads
logging.basicConfig(format="%(message)s")
def refuse(*arguments, **more): raise RuntimeError("can't start new thread")
there = threads.start_new_thread
threads.start_new_thread = refuse
ran = threading.Event()
def begin(): return threads.started(ran.set, "spanwise-first", again=begin)
assert begin() is None and begin() is None
assert threads.started_task(print, "spanwise-second") is None
threads.start_waiting()
threads.start_new_thread = there
threads._next_try = 0.0
other = threads.started(lambda: None, "spanwise-third")
assert ran.wait(60), "what waited is started with the next that can be"
assert threads._waiting == []
"""


def test_where_no_thread_can_start_it_is_told_once_and_tried_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_ROOM], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot be started: can't start new thread") == 1


def test_a_forked_child_starts_none_of_its_parent_s(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []
    monkeypatch.setattr(
        threads,
        "_waiting",
        [(os.getpid() + 1, lambda: called.append(1)), (os.getpid(), lambda: called.append(2))],
    )
    start_waiting()
    assert called == [2]


@pytest.mark.parametrize("what", ["started", "started_task"])
def test_at_interpreter_shutdown_nothing_is_raised_and_nothing_told(what: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import atexit, logging, threading
            from spanwise import threads
            logging.basicConfig()
            class AtTheVeryEnd:
                def __del__(self):
                    threads.{what}(print, "spanwise-late")
            there = AtTheVeryEnd()
            """
        )
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_there_is_no_other_way_to_start_one() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path in SOURCE.rglob("*.py")
        if path != SOURCE / "threads.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if _starts_a_thread(node)
    ]
    assert found == []


def test_a_planted_start_is_found() -> None:
    for line in (
        "threading.Thread(target=print)",
        "Thread(target=print)",
        "threading.Timer(1, print)",
        "_thread.start_new_thread(print, ())",
        "ThreadPoolExecutor(2)",
    ):
        assert any(map(_starts_a_thread, ast.walk(ast.parse(line)))), line


def _starts_a_thread(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return called in ("Thread", "Timer", "start_new_thread", "start_joinable_thread", "ThreadPoolExecutor")


def test_the_application_s_list_of_threads_has_none_of_ours() -> None:
    go_on, before = Event(), threading.enumerate()
    thread = started(lambda: go_on.wait(LONG) and None, "spanwise-tested")
    assert thread is not None
    assert (threading.enumerate(), thread.is_alive(), thread.is_current()) == (before, True, False)
    thread.join(0.0)
    assert thread.is_alive()
    go_on.set()
    thread.join(LONG)
    assert not thread.is_alive()


def test_a_line_of_the_log_names_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    thread = started(lambda: Log("spanwise.tested").warning("said"), "spanwise-tested")
    assert thread is not None
    thread.join(LONG)
    assert [record.threadName for record in caplog.records] == ["spanwise-tested"]


def test_an_event_lets_all_pass_until_it_is_cleared() -> None:
    event, passed = Event(), []
    assert (event.is_set(), event.wait(0.0)) == (False, False)
    waiting = [started(lambda: passed.append(event.wait(LONG)), f"spanwise-{each}") for each in range(4)]
    event.set()
    event.set()
    for thread in waiting:
        assert thread is not None
        thread.join(LONG)
    assert passed == [True] * 4
    assert (event.wait(), event.wait(0.0), event.is_set()) == (True, True, True)
    event.clear()
    event.wait(0.0)  # the first may end early
    assert (event.is_set(), event.wait(0.0)) == (False, False)


def test_no_call_is_missed() -> None:
    """One thread waits and clears, as the delivery's does; others set."""
    event, asked, done = Event(), [], []

    def work() -> None:
        while len(done) < 4_000:
            assert event.wait(LONG)
            event.clear()
            while asked:
                done.append(asked.pop())

    thread = started(work, "spanwise-tested")
    assert thread is not None

    def ask() -> None:
        for each in range(1_000):
            asked.append(each)
            event.set()

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for each in asking:
        each.start()
    thread.join(LONG)
    assert len(done) == 4_000
