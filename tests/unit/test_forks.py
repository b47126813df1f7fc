"""What a forked child does, by Python's own fork and by the C library's, which calls no hook."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PRELUDE = """
import ctypes, os, random, sys, threading
from spanwise import forks
LIBC = ctypes.PyDLL(None)  # which keeps the interpreter's lock, as a server does that forks
def by_c(): return LIBC.fork()
def by_python(): return os.fork()
def in_child(fork, work):
    child = fork()
    if child == 0:
        try:
            work()
            sys.stdout.flush()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
def say(*words): os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # in one piece
"""


def said(body: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(body)], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == "", done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(("fork", "marked"), [("by_c", 0), ("by_python", 1)])
def test_each_child_does_all_once_and_in_order_and_so_does_its_own_child(fork: str, marked: int) -> None:
    body = f"""
    forks.after_any_fork(lambda: say("first"))
    forks.after_any_fork(lambda: say("second"))
    def work(depth=2):
        say("mark", int(forks.mark[0]))
        forks.noticed(); forks.noticed()
        say("mark", int(forks.mark[0]))
        if depth: in_child({fork}, lambda: work(depth - 1))
    assert forks.mark[0]
    in_child({fork}, work)
    say("parent", int(forks.mark[0]))
    """
    each = ["first", "second", "mark 1", "mark 1"] if marked else ["mark 0", "first", "second", "mark 1"]
    assert said(body) == each * 3 + ["parent 1"]


def test_what_python_s_fork_sees_to_itself_is_done_where_no_hook_was_called() -> None:
    body = """
    forks.after_any_fork(lambda: say("any"))
    forks.after_fork_in_c(lambda: say("in C"))
    in_child(by_python, forks.noticed)
    in_child(by_c, forks.noticed)
    """
    assert said(body) == ["any", "any", "in C"]


def test_one_that_raises_keeps_none_of_the_others_from_being_called() -> None:
    body = """
    import logging; logging.disable()
    def fails(): raise ValueError
    forks.after_any_fork(fails)
    forks.after_any_fork(lambda: say("called"))
    in_child(by_c, forks.noticed)
    in_child(by_python, lambda: None)
    """
    assert said(body) == ["called", "called"]


def test_children_by_c_draw_different_random_numbers() -> None:
    body = """
    for _ in range(3):
        in_child(by_c, lambda: (forks.noticed(), say(random.getrandbits(64))))
    """
    assert len(set(said(body))) == 3


def test_two_threads_that_notice_at_once_both_go_on_when_all_is_done() -> None:
    body = """
    import time
    went = []
    def slow():
        time.sleep(0.2)
        went.append("done")
    forks.after_any_fork(slow)
    def work():
        def notice():
            forks.noticed()
            went.append("on")
        threads = [threading.Thread(target=notice) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        say(*went)
    in_child(by_c, work)
    """
    assert said(body) == ["done on on on on"]


def test_what_a_callback_records_itself_does_not_wait_for_itself() -> None:
    body = """
    forks.after_any_fork(forks.noticed)
    in_child(by_c, lambda: (forks.noticed(), say("on")))
    """
    assert said(body) == ["on"]


def test_where_no_page_can_be_wiped_the_process_id_tells_the_same() -> None:
    body = """
    forks.mark = forks._ByProcessId()
    forks.after_any_fork(lambda: say("called"))
    assert forks.mark[0]
    def work():
        assert not forks.mark[0]
        forks.noticed()
        assert forks.mark[0]
    in_child(by_c, work)
    """
    assert said(body) == ["called"]


UWSGI = """
import types
server = types.ModuleType("uwsgi")
server.id = 0
server.worker_id = lambda: server.id
forks.in_uwsgi = lambda: True
forks.LOADING = 0.2
"""


def test_in_uwsgi_threads_start_when_it_serves() -> None:
    body = UWSGI + textwrap.dedent("""
    import time
    from spanwise import threads
    started = threading.Event()
    forks.wait_for_server(lambda: True)
    begin = lambda: threads.started(lambda: (say("start"), started.set()), "spanwise-test", again=begin)
    begin()
    forks.after_any_fork(lambda: say("child"))
    forks.look()  # a library was imported: the server's module is not there yet
    sys.modules["uwsgi"] = server
    forks.look()
    say("loaded")
    def worker():
        server.post_fork_hook()
        while not forks.mark[0]: time.sleep(0.01)
        say("mark", forks.mark[0])
    in_child(by_c, worker)
    server.id = 1  # without a master the first worker is this very process
    server.post_fork_hook()
    assert started.wait(30)
    say("mark", forks.mark[0])
    server.post_fork_hook()
    """)
    assert said(body) == ["loaded", "child", "mark 1", "start", "mark 1"]


def test_what_uwsgi_s_master_records_is_delivered_a_while_later_and_starts_no_thread() -> None:
    body = UWSGI + textwrap.dedent("""
    from spanwise import threads
    sys.modules["uwsgi"] = server
    done = threading.Semaphore(0)
    left = [False, True]
    def deliver():
        say("deliver")
        done.release()
        return left.pop(0)
    forks.wait_for_server(deliver)
    assert threads.started(lambda: say("start"), "spanwise-test", again=lambda: None) is None
    forks.noticed(); forks.noticed()
    say("recorded")
    for _ in range(2): assert done.acquire(timeout=30)
    say("mark", forks.mark[0])
    """)
    assert said(body) == ["recorded", "deliver", "deliver", "mark 0"]


def test_a_hook_that_is_there_is_called_too() -> None:
    body = UWSGI + textwrap.dedent("""
    import time
    server.post_fork_hook = lambda: say("the application's")
    sys.modules["uwsgi"] = server
    forks.after_any_fork(lambda: say("ours"))
    forks.look(); forks.look()
    def worker():
        server.post_fork_hook()
        while not forks.mark[0]: time.sleep(0.01)
    in_child(by_c, worker)
    """)
    assert sorted(said(body)) == ["ours", "the application's"]


def test_elsewhere_threads_start_at_once() -> None:
    body = """
    from spanwise import threads
    started = threading.Event()
    forks.wait_for_server(lambda: True)
    threads.started(started.set, "spanwise-test")
    say(started.wait(30), forks.mark[0])
    """
    assert said(body) == ["True 1"]


def test_no_room_registers_with_python_alone() -> None:
    """A hook of ``os`` is not called by a server that forks in C."""
    source = Path(__file__).resolve().parents[2] / "src" / "spanwise"
    using = [file.name for file in source.rglob("*.py") if "os.register_at_fork" in file.read_text("utf-8")]
    assert using == ["forks.py"]


def test_a_look_at_the_mark_makes_no_system_call() -> None:
    """On Linux of today; elsewhere it asks for the process's id."""
    from spanwise import forks

    if sys.platform == "linux" and tuple(map(int, os.uname().release.split(".")[:2])) >= (4, 14):
        assert type(forks.mark).__name__ == "mmap"
