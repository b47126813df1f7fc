"""One object used by several at once: each `with` is one of its own, and leaves nothing current."""

from __future__ import annotations

import asyncio
import threading
from contextvars import copy_context
from typing import Any

import pytest
from opentelemetry.trace import StatusCode, get_current_span

import spanwise
from spanwise import names


def nothing_current() -> bool:
    return not get_current_span().get_span_context().is_valid


def test_nested_in_itself(observed: Any, caplog: pytest.LogCaptureFixture) -> None:
    op = spanwise.operation("reused")
    with op as outer:
        with op as inner:
            assert get_current_span() is inner.span
            with inner as innermost:
                assert get_current_span() is innermost.span
            assert get_current_span() is inner.span
        assert get_current_span() is outer.span
        assert outer.span.is_recording()
    assert nothing_current()
    first, second, third = observed.spans()
    assert first.parent.span_id == second.context.span_id
    assert second.parent.span_id == third.context.span_id
    assert third.parent is None
    with op as again:
        assert again is op, "it is free"
        assert get_current_span().is_recording()
    assert nothing_current()
    assert len(observed.spans()) == 4
    assert caplog.text == ""


def test_in_threads_that_overlap(observed: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Each ends while another is under way, and the first that entered leaves first."""
    op, left = spanwise.operation("shared"), []
    together = threading.Barrier(4)

    def work() -> None:
        for _ in range(5):
            together.wait(60)
            with op as mine:
                together.wait(60)
                assert get_current_span() is mine.span
                mine.set_attribute("thread", threading.get_ident())
        left.append(nothing_current())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert left == [True] * 4
    spans = observed.spans()
    assert len(spans) == 20
    assert all(span.parent is None and span.status.status_code is StatusCode.UNSET for span in spans)
    found = [span.attributes["thread"] for span in spans]
    assert sorted(found.count(each) for each in set(found)) == [5] * 4
    assert caplog.text == ""


def test_one_inside_another_of_the_same_after_somebody_else_left(observed: Any) -> None:
    """The object is free again then, but what the inner `with` ends must be its own."""
    op = spanwise.operation("shared")
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with op:
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    assert entered.wait(60)
    with op as outer:
        leave.set()
        thread.join(60)
        with op as inner:
            assert inner.span is not outer.span
        assert get_current_span() is outer.span
        assert outer.span.is_recording()
        assert not inner.span.is_recording()
    assert nothing_current()
    assert len(observed.spans()) == 3


def test_in_tasks(observed: Any) -> None:
    op = spanwise.operation("shared")

    async def work(count: int) -> None:
        async with op as mine:
            await asyncio.sleep(0)
            mine.set_attribute("count", count)
            assert get_current_span() is mine.span
        assert nothing_current()

    async def main() -> None:
        await asyncio.gather(*(work(count) for count in range(5)))

    asyncio.run(main())
    assert sorted(span.attributes["count"] for span in observed.spans()) == [0, 1, 2, 3, 4]


def test_one_started_by_hand_is_the_one_that_with_ends(observed: Any) -> None:
    op = spanwise.operation("by hand").start()
    with op as entered:
        assert entered is op
        assert get_current_span() is op.span
    assert nothing_current()
    assert len(observed.spans()) == 1


def test_left_in_another_context_is_one_mistake(observed: Any, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        op = spanwise.operation("dependency")
        copy_context().run(op.__enter__)
        copy_context().run(op.__exit__, None, None, None)
    told = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 1, "every token has a text of its own"
    assert "operation: it was left in another context" in told[0].getMessage()
    assert len(observed.spans()) == 3


def test_recording_within_is_refused(observed: Any, caplog: pytest.LogCaptureFixture) -> None:
    with spanwise.preload("x") as item:
        item.record(success=True, duration=1.0)
        assert get_current_span() is item.span
    with spanwise.memory_pressure() as pressure:
        pressure.record(before_mb=1, controllers_disposed=3)
        pressure.disposed(3)
    assert nothing_current()
    assert [span.status.status_code for span in observed.spans()] == [StatusCode.UNSET] * 2
    points = observed.points()
    assert {dict(key)["outcome"]: n for key, n in points[names.PRELOAD_EVENTS.name].items()}["success"] == 1
    assert points[names.MEMORY_PRESSURE_EVENTS.name] == {(): 1}
    assert points[names.MEMORY_PRESSURE_DISPOSED.name] == {(): 3}
    assert "could not record a preload: it is under way" in caplog.text
    assert "could not record memory pressure: it is under way" in caplog.text
