from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanwise.console.queries.accounting import account
from spanwise.console.queries.services import COLOURS, colours, list_services
from spanwise.console.queries.summary import summarise
from spanwise.console.queries.trace import one_trace
from spanwise.console.queries.traces import TraceFilter, list_traces
from spanwise.console.rows import Batch, LogRow, ResourceRow
from spanwise.console.store import Store

MS = 1_000_000


@pytest.fixture
def filled(store: Store, make: Any) -> Store:
    rows = [
        make.row("a", "t1", name="GET /album", start_ns=10 * MS, end_ns=30 * MS, service="store"),
        make.row("b", "t1", "a", name="SELECT Album", start_ns=12 * MS, end_ns=20 * MS, rating="poor"),
        make.row(
            "c", "t1", "a", name="charge", start_ns=13 * MS, end_ns=14 * MS, service="pay", rating="good"
        ),
        make.row("d", "t2", name="GET /fail", start_ns=40 * MS, end_ns=41 * MS, status="error"),
        make.row("e", "t3", "gone", name="late", start_ns=20 * MS, end_ns=520 * MS, service="pay"),
    ]
    batch = make.batch(*rows)
    batch.resources.append(ResourceRow("p", "pay", "i-2", "{}"))
    store.submit(batch, 1).result(20)
    return store


def listed(store: Store, **wanted: Any) -> list[str]:
    with store.reading() as cursor:
        return [line.trace_id for line in list_traces(cursor, TraceFilter(**wanted))]


def test_the_list_is_newest_first_with_what_a_reader_needs(filled: Store) -> None:
    with filled.reading() as cursor:
        lines = list_traces(cursor, TraceFilter())
        assert list_services(cursor) == ["store", "pay"]
    assert [line.trace_id for line in lines] == ["t2", "t3", "t1"]
    one = lines[2]
    assert (one.name, one.service, one.services) == ("GET /album", "store", ["pay", "store"])
    assert (one.spans, one.errors, one.rating, one.complete) == (3, 0, "poor", True)
    assert (one.start_unix_nano, one.duration_ms) == (str(10 * MS), 20.0)
    assert (lines[1].name, lines[1].complete, lines[0].errors) == ("late", False, 1)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"service": "pay"}, ["t3", "t1"]),
        ({"name": "select album"}, ["t1"]),
        ({"name": "%"}, []),
        ({"name": "' or 1=1 --"}, []),
        ({"min_duration_ms": 20}, ["t3", "t1"]),
        ({"min_duration_ms": 20.001}, ["t3"]),
        ({"errors_only": True}, ["t2"]),
        ({"rating": "good"}, ["t1"]),
        ({"rating": "acceptable"}, ["t1"]),
        ({"rating": "poor"}, ["t1"]),
        ({"rating": "critical"}, []),
        ({"rating": "poor", "errors_only": True}, []),
        ({"service": "pay", "name": "charge", "min_duration_ms": 1}, ["t1"]),
        ({"limit": 1}, ["t2"]),
        ({"limit": 1, "offset": 1}, ["t3"]),
        ({"limit": -5, "offset": -5}, ["t2"]),
    ],
)
def test_filters(filled: Store, wanted: dict[str, Any], found: list[str]) -> None:
    assert listed(filled, **wanted) == found


def test_a_rating_finds_that_and_worse_before_the_page_is_cut(store: Store, make: Any) -> None:
    ratings = ["", "good", "acceptable", "poor", "critical"]
    rows = [
        make.row(f"{word}{n}", f"{word or 'unrated'}{n}", rating=word, start_ns=n)
        for word in ratings
        for n in range(3)
    ]
    store.submit(make.batch(*rows), 1).result(20)
    for number, word in enumerate(ratings):
        found = {line.rstrip("012") for line in listed(store, rating=word)}
        assert found == {item or "unrated" for item in ratings[number:]}
    assert listed(store, rating="critical", limit=2) == ["critical2", "critical1"]


def test_a_service_keeps_its_colour_when_others_join_and_no_two_share_one(store: Store, make: Any) -> None:
    seen: dict[str, int] = {}
    for number in range(COLOURS):
        batch = make.batch(make.row(str(number)))
        name = f"service-{99 - number}"  # later ones sort first
        batch.resources = [ResourceRow(name, name, "i", "{}")]
        store.submit(batch, 1).result(20)
        with store.reading() as cursor:
            found = colours(list_services(cursor))
        assert seen.items() <= found.items()
        seen = found
    assert sorted(seen.values()) == list(range(COLOURS))


def test_the_colour_follows_from_the_name_and_more_services_than_colours_are_fine() -> None:
    many = [f"s{number}" for number in range(200)]
    alone = {name: colours([name])[name] for name in many}
    assert len(set(alone.values())) == COLOURS
    assert set(colours(many).values()) == set(range(COLOURS))
    assert colours([*many, "last"])["last"] == colours(["last"])["last"]


def test_one_trace_is_in_tree_order_with_offsets(filled: Store) -> None:
    with filled.reading() as cursor:
        trace = one_trace(cursor, "t1")
        assert one_trace(cursor, "nothing") is None
    assert trace is not None
    assert [(s.span_id, s.depth, s.children, s.offset_ms) for s in trace.spans] == [
        ("a", 0, 2, 0.0),
        ("b", 1, 0, 2.0),
        ("c", 1, 0, 3.0),
    ]
    assert trace.duration_ms == 20.0
    assert trace.spans[0].resource == {"service.name": "store"}
    assert not any(span.orphan for span in trace.spans)


def test_a_span_whose_parent_is_missing_is_a_marked_root(filled: Store) -> None:
    with filled.reading() as cursor:
        trace = one_trace(cursor, "t3")
    assert trace is not None
    assert [(s.depth, s.orphan) for s in trace.spans] == [(0, True)]


def test_exceptions_events_ratings_and_logs_reach_their_span(store: Store, make: Any) -> None:
    events = (
        '[{"name":"exception","time_ns":"3000000","attributes":{"exception.type":"ValueError",'
        '"exception.message":"no","exception.stacktrace":"at line 1"}},'
        '{"name":"cache miss","time_ns":"2000000","attributes":{}}]'
    )
    attributes = '{"spanwise.rating":"poor","spanwise.rating.rule":"db.client","spanwise.rating.limit":0.5}'
    batch = make.batch(make.row("a", events=events, attributes=attributes, rating="poor"))
    for span_id in ("a", "elsewhere"):
        log = LogRow("t", span_id, 1_500_000, 13, "", "", "low disk", "store", "i-1", "r", "s", "{}")
        batch.logs.append(log)
    store.submit(batch, 1).result(20)
    with store.reading() as cursor:
        trace = one_trace(cursor, "t")
    assert trace is not None
    (span,) = trace.spans
    assert span.exceptions == [{"type": "ValueError", "message": "no", "stacktrace": "at line 1"}]
    assert [(e["name"], e["offset_ms"], e["exception"]) for e in span.events] == [
        ("exception", 2.0, True),
        ("cache miss", 1.0, False),
    ]
    assert (span.rating, span.rating_rule) == ("poor", "db.client")
    assert span.units == {"spanwise.rating.limit": "s"}
    assert [(log["body"], log["severity"]) for log in span.logs] == [("low disk", "13")]
    assert len(trace.logs) == 1


@settings(max_examples=40)
@given(st.lists(st.one_of(st.none(), st.integers(0, 14)), min_size=1, max_size=14))
def test_any_shape_of_parents_shows_every_span_once(parents: list[int | None]) -> None:
    """Cycles, spans that are their own parent, missing parents: nothing is lost, nothing hangs."""
    from spanwise.console.queries.trace import SpanView, _tree_order

    def view(number: int, parent: int | None) -> SpanView:
        return SpanView(
            str(number), "" if parent is None else str(parent), "", "", "", "", "", "", "", "", "", "0", 0.0,
            0.0, {}, {}, {}, [], [], [], 0,
        )  # fmt: skip

    spans = {str(number): view(number, parent) for number, parent in enumerate(parents)}
    ordered = _tree_order(spans)
    assert sorted(span.span_id for span in ordered) == sorted(spans)
    for before, span in zip([None, *ordered], ordered, strict=False):
        assert span.depth <= (before.depth + 1 if before else 0)
        if span.depth == 0:
            assert span.orphan == (span.parent_id != "")


def test_a_chain_of_5000_spans_is_fine(store: Store, make: Any) -> None:
    rows = [make.row(str(n), parent=str(n - 1) if n else "", start_ns=n, end_ns=9000) for n in range(5000)]
    store.submit(make.batch(*rows), 1).result(20)
    with store.reading() as cursor:
        trace = one_trace(cursor, "t")
    assert trace is not None
    assert [span.depth for span in trace.spans] == list(range(5000))


def test_the_summary_counts_and_names_the_slowest(filled: Store) -> None:
    with filled.reading() as cursor:
        summary = summarise(cursor)
    assert (summary.traces, summary.spans, summary.errors) == (3, 5, 1)
    assert [tuple(item) for item in summary.slowest] == [
        ("late", 500.0, "t3"),
        ("GET /album", 20.0, "t1"),
        ("GET /fail", 1.0, "t2"),
    ]
    assert [(i.service, i.spans, i.errors) for i in summary.instances] == [("store", 3, 1), ("pay", 2, 0)]


def test_an_empty_console_has_an_empty_summary(store: Store) -> None:
    with store.reading() as cursor:
        summary = summarise(cursor)
        assert account(cursor) == []
        assert list_traces(cursor, TraceFilter()) == []
    assert (summary.traces, summary.spans, summary.errors, summary.slowest) == (0, 0, 0, [])


def test_the_account_takes_the_latest_point_of_each_attribute_set(store: Store, make: Any) -> None:
    dropped = '{"error.type":"queue_full"}'
    points = [
        make.point(3.0, time_ns=10),
        make.point(50.0, time_ns=5),  # larger, but not the latest
        make.point(9.0, time_ns=20),
        make.point(7.0, time_ns=15),  # arrived late, is not the latest
        make.point(2.0, time_ns=20, attributes=dropped),
        make.point(5.0, time_ns=20, attributes='{"k":1}'),
        make.point(4.0, time_ns=30, start_ns=25),  # the counter restarted
        make.point(float("nan"), time_ns=99),
        make.point(None, time_ns=99),
        make.point(1000.0, name="something.else"),
        make.point(2.0, temporality="delta", instance="i-2"),
        make.point(3.0, temporality="delta", instance="i-2"),
    ]
    store.submit(make.batch(*(make.row(str(n)) for n in range(17)), points=points), 1).result(20)
    with store.reading() as cursor:
        first, second = account(cursor)
    assert (first.recorded, first.dropped, first.stored, first.missing) == (20, {"queue_full": 2}, 17, 1)
    assert (second.instance, second.recorded, second.stored, second.missing) == ("i-2", 5, 0, 5)


def test_an_instance_that_has_not_said_how_many_is_told_apart(store: Store, make: Any) -> None:
    store.submit(make.batch(make.row("a")), 1).result(20)
    with store.reading() as cursor:
        (entry,) = account(cursor)
    assert (entry.stored, entry.recorded, entry.missing) == (1, None, None)


def test_times_at_the_limit_do_not_overflow(make: Any) -> None:
    store = Store(Path(":memory:"))
    rows = [make.row("a", start_ns=0, end_ns=2**62), make.row("b", start_ns=2**62, end_ns=2**62)]
    store.submit(Batch(spans=rows), 1).result(20)
    with store.reading() as cursor:
        assert list_traces(cursor, TraceFilter(min_duration_ms=3.2e12))[0].duration_ms == 2**62 / 1e6
        assert summarise(cursor).slowest
    store.close()
