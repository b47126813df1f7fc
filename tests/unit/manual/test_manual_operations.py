"""Operations: what they measure, on which span and metric, and that nothing of it hurts the application."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

import spanwise
from spanwise import names
from spanwise.context import suppressed
from spanwise.instrumentors import _call
from spanwise.manual import operations
from spanwise.manual.kinds import KINDS
from spanwise.rating.lowered import compile_rules
from spanwise.thresholds.load import load, lower

DURATION, CPU, MEMORY = (
    names.OPERATION_DURATION.name,
    names.OPERATION_CPU_TIME.name,
    names.OPERATION_MEMORY_DELTA.name,
)


def labels(name: str, kind: str = "custom", **more: str) -> tuple[tuple[str, str], ...]:
    found = {names.OPERATION_NAME: name, names.OPERATION_KIND: kind}
    return tuple(
        sorted({**found, **{f"spanwise.operation.{key}": value for key, value in more.items()}}.items())
    )


def test_with_makes_a_current_span_and_three_metrics(observed: Any) -> None:
    with spanwise.operation("video", "ai_generation", plugin="sd", attributes={"model": "x"}) as op:
        assert get_current_span() is op.span
        op.set_attribute("format", "mp4")
    assert not get_current_span().is_recording()
    span = observed.span()
    assert (span.name, span.kind, span.status.status_code) == ("video", SpanKind.CLIENT, StatusCode.UNSET)
    of = labels("video", "ai_generation", plugin="sd")
    assert dict(of).items() <= span.attributes.items()
    assert (span.attributes["model"], span.attributes["format"]) == ("x", "mp4")
    points = observed.points()
    assert points[DURATION][of] == (1, (span.end_time - span.start_time) / 1e9)
    assert points[CPU] == {of: span.attributes[CPU]}
    assert points[MEMORY] == {of: span.attributes[MEMORY]}, "attributes of the span got onto the metric"


def test_figures_are_those_of_the_operation(observed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, memory = iter([5, 2_000_000_005]), iter([1_000_000, 4_000_000])
    monkeypatch.setattr(operations, "resident_bytes", lambda: next(memory))
    op = spanwise.operation("import")
    monkeypatch.setattr(operations, "thread_time_ns", lambda: next(clock))
    op.start()
    op.stop()
    assert (observed.span().attributes[CPU], observed.span().attributes[MEMORY]) == (2.0, 3_000_000)
    assert observed.points()[MEMORY] == {labels("import"): 3_000_000}


def test_a_failure_is_the_application_s_own_exception(observed: Any) -> None:
    error = LookupError("gone")
    with pytest.raises(LookupError) as caught, spanwise.operation("find", "database"):
        raise error
    assert caught.value is error
    span = observed.span()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "gone"
    assert span.events[0].name == "exception"
    (key,) = observed.points()[DURATION]
    assert dict(key)[names.ERROR_TYPE] == "LookupError"
    assert observed.points()[CPU].keys() == {labels("find", "database")}


def test_start_and_stop_by_hand_leave_the_current_span_alone(observed: Any) -> None:
    op = spanwise.operation("import").start()
    assert get_current_span() is not op.span
    op.fail("three lines were wrong")
    op.fail("again")
    op.stop()
    span = observed.span()
    assert span.status.description == "three lines were wrong"
    assert span.attributes[names.ERROR_TYPE] == "_OTHER"


def test_one_that_is_started_twice_is_one(observed: Any, caplog: pytest.LogCaptureFixture) -> None:
    op = spanwise.operation("import").start()
    assert op.start() is op
    op.stop()
    assert "was started that is under way" in caplog.text
    op.start().stop()
    assert len(observed.spans()) == 2, "an ended one cannot be started again"


def test_ended_on_another_thread_it_has_no_cpu_time(observed: Any) -> None:
    op = spanwise.operation("handed over").start()
    thread = threading.Thread(target=op.stop)
    thread.start()
    thread.join(60)
    assert CPU not in observed.span().attributes
    assert CPU not in observed.points()
    assert MEMORY in observed.span().attributes


def test_a_decorator_takes_the_function_s_name_and_makes_one_each_call(observed: Any) -> None:
    @spanwise.operation(kind="component.render", component="Cart")
    def render(depth: int) -> int:
        """Docs."""
        return depth + (render(depth - 1) if depth else 0)

    assert (render.__name__, render.__doc__, render(2)) == ("render", "Docs.", 3)
    spans = observed.spans()
    name = test_a_decorator_takes_the_function_s_name_and_makes_one_each_call.__name__ + ".<locals>.render"
    assert [span.name for span in spans] == [name] * 3
    assert spans[0].parent.span_id == spans[1].context.span_id
    assert observed.points()[DURATION][labels(name, "component.render", component="Cart")][0] == 3


def test_one_object_serves_with_and_as_a_decorator(observed: Any, caplog: pytest.LogCaptureFixture) -> None:
    timed = spanwise.operation("work")
    work = timed(lambda: 3)
    with timed:
        assert work() == 3
    assert len(observed.spans()) == 2
    assert caplog.text == ""


def test_a_decorated_function_runs_in_many_threads_at_once(observed: Any) -> None:
    together = threading.Barrier(4)

    @spanwise.operation("work")
    def work() -> None:
        together.wait(60)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(observed.spans()) == 4


def test_async_with_tells_no_cpu_time(observed: Any) -> None:
    async def main() -> None:
        async with spanwise.operation("fetch", "external_api") as op:
            assert get_current_span() is op.span
            await asyncio.sleep(0)

    asyncio.run(main())
    assert CPU not in observed.span().attributes


def test_added_metrics_are_attributes_and_histograms(observed: Any) -> None:
    for frames in (30, 50.5):
        with spanwise.operation("video", "ai_generation") as op:
            op.add_metric("frames_generated", frames, "{frame}")
    assert [span.attributes["frames_generated"] for span in observed.spans()] == [30, 50.5]
    assert observed.points()["frames_generated"] == {labels("video", "ai_generation"): (2, 80.5)}


@pytest.mark.parametrize(
    ("name", "value", "unit", "said"),
    [
        ("9lives", 1, "", "'9lives' is no metric's name"),
        ("naïve", 1, "", "is no metric's name"),
        ("x" * 300, 1, "", "is no metric's name"),
        ("x", float("nan"), "", "nan is no value of the metric x"),
        ("x", -1, "", "-1 is no value"),
        ("x", True, "", "True is no number"),
        ("x", "1", "", "'1' is no number"),
        ("x", 1, "a b", "'a b' is no unit of x"),
        (7, 1, "", "must be texts"),
    ],
)
def test_a_metric_that_cannot_be_used_is_told(
    observed: Any, caplog: pytest.LogCaptureFixture, name: Any, value: Any, unit: str, said: str
) -> None:
    with spanwise.operation("o") as op:
        op.add_metric(name, value, unit)
        op.add_metric(name, value, unit)
    assert [record.levelname for record in caplog.records] == ["WARNING"], "once"
    assert said in caplog.text
    assert observed.span().status.status_code is StatusCode.UNSET


def test_a_metric_outside_the_operation_is_told(observed: Any, caplog: pytest.LogCaptureFixture) -> None:
    spanwise.operation("o").add_metric("x", 1)
    assert "not under way" in caplog.text
    assert observed.spans() == []


def test_names_of_metrics_are_bounded(observed: Any, caplog: pytest.LogCaptureFixture) -> None:
    with spanwise.operation("o") as op:
        for n in range(150):
            op.add_metric(f"m{n}", n)
    assert sum(name.startswith("m") and name[1:].isdigit() for name in observed.points()) == 100
    assert "metric 101 that operations add" in caplog.text


def test_an_unknown_kind_is_told_once_and_is_custom(observed: Any, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        with spanwise.operation("o", kind="databse"):
            pass
    assert {span.attributes[names.OPERATION_KIND] for span in observed.spans()} == {"custom"}
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [
        "'databse' is no kind of operation, so it is rated as custom. Did you mean 'database'?"
    ]


ANYTHING = st.one_of(st.none(), st.integers(), st.text(), st.binary(), st.lists(st.text()))


@settings(max_examples=50)
@given(
    name=ANYTHING,
    kind=ANYTHING,
    component=ANYTHING,
    plugin=ANYTHING,
    attributes=st.one_of(
        st.none(),
        st.integers(),
        st.dictionaries(st.integers() | st.text(), st.none() | st.text() | st.floats()),
    ),
)
def test_no_argument_raises(name: Any, kind: Any, component: Any, plugin: Any, attributes: Any) -> None:
    with spanwise.operation(name, kind, component=component, plugin=plugin, attributes=attributes) as op:
        op.set_attribute(name, kind)
        op.add_metric(component, plugin)


def test_what_fails_of_ours_costs_telemetry_only(
    observed: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> int:
        raise OSError("no /proc")

    monkeypatch.setattr(operations, "resident_bytes", broken)
    with spanwise.operation("o"):
        pass
    assert "OSError: no /proc" in caplog.text
    assert [span.name for span in observed.spans()] == ["o"], "the span was lost with the figure"


def test_memory_that_was_not_known_at_the_start_is_not_told(
    observed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = iter([OSError("too many open files"), 4_000_000])

    def once_broken() -> int:
        found = next(read)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(operations, "resident_bytes", once_broken)
    with spanwise.operation("o"):
        pass
    assert MEMORY not in observed.span().attributes
    assert MEMORY not in observed.points()


def test_a_suppressed_operation_is_not_observed(observed: Any) -> None:
    with suppressed(), spanwise.operation("o") as op:
        op.add_metric("x", 1)
    assert observed.spans() == []
    assert observed.points() == {}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_shipped_thresholds_rate_every_kind(observed: Any, kind: str) -> None:
    with spanwise.operation("o", kind):
        pass
    span = observed.span()
    verdict = compile_rules(lower(load()))(span.name, span.kind, span.attributes, 31 * 10**9)
    assert verdict is not None
    assert verdict.rating == "critical"
    rules = {
        "http": "http.server",
        "external_api": "http.client",
        "database": "db.client",
        "plugin": "custom",
    }
    rules |= {"ai_generation": "gen_ai", "component.render": "component", "component.action": "component"}
    assert verdict.rule == rules.get(kind, "custom" if kind == "system_resource" else kind)


def test_a_call_that_is_over_has_exactly_its_duration(observed: Any) -> None:
    before = time.time_ns()
    call = observed.parts.operation_calls.start("o", metric_attributes={}, took=5_000_000_000)
    assert call.end() == 5.0
    span = observed.span()
    assert span.end_time - span.start_time == 5_000_000_000
    assert before <= span.end_time <= time.time_ns()
    assert observed.parts.operation_calls.start("o", took=0) is not _call.NO_CALL


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("no name!", 1, "is no metric's name"),
        ("frames", -1, "-1 is no value"),
        ("frames", float("inf"), "inf is no value"),
        (names.OPERATION_KIND, 7, "one of spanwise's own"),
        (names.ERROR_TYPE, 7, "one of spanwise's own"),
    ],
)
def test_a_figure_that_cannot_be_used_is_no_attribute_either(
    observed: Any, caplog: pytest.LogCaptureFixture, name: str, value: float, said: str
) -> None:
    with spanwise.operation("o") as op:
        op.add_metric(name, value)
    assert said in caplog.text
    assert observed.span().attributes.get(name) != value
