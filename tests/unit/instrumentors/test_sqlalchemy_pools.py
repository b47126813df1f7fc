"""Connection pools as metrics, and whether a database can be reached."""

from __future__ import annotations

import gc
import logging
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from opentelemetry.instrumentation.utils import suppress_instrumentation
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool, QueuePool, SingletonThreadPool, StaticPool

sys.path.insert(0, str(Path(__file__).parent))

from sqlalchemy_parts import Observed, run

from spanwise import names
from spanwise.instrumentors import _sqlalchemy_pool as pools
from spanwise.instrumentors.sqlalchemy import SQLAlchemyInstrumentor

COUNT = names.DB_CLIENT_CONNECTION_COUNT.name
WAIT = names.DB_CLIENT_CONNECTION_WAIT_TIME.name
DOWN = names.DB_CLIENT_CONNECTION_DOWN.name
USAGE = names.OLD_DB_CLIENT_CONNECTIONS_USAGE.name
PENDING = names.DB_CLIENT_CONNECTION_PENDING_REQUESTS.name
POOL = names.DB_CLIENT_CONNECTION_POOL_NAME
STATE = names.DB_CLIENT_CONNECTION_STATE

Make = Callable[..., Engine]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes engines on one file."""
    made: list[Engine] = []

    def new(**options: Any) -> Engine:
        options.setdefault("poolclass", QueuePool)
        engine = sa.create_engine(f"sqlite:///{tmp_path}/a.db", **options)
        made.append(engine)
        return engine

    yield new
    for engine in made:
        engine.dispose()


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Observed]:
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN", raising=False)
    made = Observed()
    made.instrument()
    yield made
    SQLAlchemyInstrumentor().uninstrument()


def states(observed: Observed, state: str = STATE, metric: str = COUNT) -> dict[Any, float]:
    return {point.attributes[state]: point.value for point in observed.points(metric)}


def value(observed: Observed, metric: str) -> float | None:
    """The one point's value; None where there is no point."""
    found = [point.value for point in observed.points(metric)]
    assert len(found) < 2
    return found[0] if found else None


def count(observed: Observed, metric: str) -> int:
    return sum(point.count for point in observed.points(metric))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.001)


# -- how many connections ---------------------------------------------------------------------


@pytest.mark.parametrize("before", [True, False])
def test_idle_and_used(make: Make, before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN", raising=False)
    observed = Observed()
    if before:
        engine = make()
        held = engine.connect()
    observed.instrument()
    try:
        if not before:
            engine = make()
            held = engine.connect()
        held.execute(sa.text("SELECT 1"))
        with engine.connect():
            assert states(observed) == {"idle": 0, "used": 2}
        assert states(observed) == {"idle": 1, "used": 1}
        held.close()
        assert states(observed) == {"idle": 2, "used": 0}
        engine.dispose()
        assert states(observed) == {"idle": 0, "used": 0}
        run(engine, "SELECT 1")  # in the pool that has taken its place
        assert states(observed) == {"idle": 1, "used": 0}
    finally:
        SQLAlchemyInstrumentor().uninstrument()


@pytest.mark.parametrize(("pool", "given_back"), [(NullPool, 0), (StaticPool, 1), (SingletonThreadPool, 1)])
def test_pools_that_count_nothing_themselves(
    make: Make, observed: Observed, pool: Any, given_back: int
) -> None:
    engine = make(poolclass=pool)
    with engine.connect():
        assert states(observed) == {"idle": 0, "used": 1}
    gc.collect()
    assert states(observed) == {"idle": given_back, "used": 0}
    for metric in (names.DB_CLIENT_CONNECTION_MAX, names.DB_CLIENT_CONNECTION_IDLE_MAX):
        assert observed.points(metric.name) == []


@pytest.mark.parametrize(
    ("options", "most", "idle"),
    [
        ({"pool_size": 3, "max_overflow": 4}, 7, 3),
        ({"pool_size": 3, "max_overflow": 0}, 3, 3),
        ({"pool_size": 3, "max_overflow": -1}, None, 3),
        ({"pool_size": 0}, None, None),
    ],
)
def test_limits(
    make: Make, observed: Observed, options: dict[str, int], most: int | None, idle: int | None
) -> None:
    run(make(**options), "SELECT 1")
    assert value(observed, names.DB_CLIENT_CONNECTION_MAX.name) == most
    assert value(observed, names.DB_CLIENT_CONNECTION_IDLE_MAX.name) == idle
    assert value(observed, names.DB_CLIENT_CONNECTION_IDLE_MIN.name) == 0


def test_engines_of_one_name_are_told_as_one(make: Make, observed: Observed) -> None:
    with make(pool_size=2, max_overflow=1).connect(), make(pool_size=3, max_overflow=1).connect():
        assert states(observed) == {"idle": 0, "used": 2}
        assert value(observed, names.DB_CLIENT_CONNECTION_MAX.name) == 7


def test_options_make_no_other_pool(make: Make, observed: Observed) -> None:
    engine = make()
    for _ in range(3):
        run(engine.execution_options(isolation_level="SERIALIZABLE"), "SELECT 1")
    gc.collect()  # those engines are gone; the pool is not
    assert states(observed) == {"idle": 1, "used": 0}
    run(engine, "SELECT 1")
    assert states(observed) == {"idle": 1, "used": 0}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://bob:pw@db.example:6432/shop", "db.example:6432/shop"),
        ("postgresql:///shop?host=/run/pg", "/run/pg/shop"),
        ("mysql://db.example/shop", "db.example/shop"),
        ("mysql://db.example", "db.example"),
        ("sqlite:///:memory:", "sqlite/:memory:"),
        ("sqlite://", "sqlite"),
    ],
)
def test_a_pool_is_named_after_its_address(url: str, expected: str) -> None:
    class Holder:  # stands for an engine, its dialect and pool, whose driver isn't installed here
        pass

    holder: Any = Holder()
    holder.url, holder.dialect, holder.pool = sa.make_url(url), holder, holder
    holder.name = holder.url.get_backend_name()
    assert pools.Database(None, holder).name == expected


def test_a_pool_may_have_a_name(make: Make, observed: Observed) -> None:
    run(make(pool_logging_name="reports"), "SELECT 1")
    assert {point.attributes[POOL] for point in observed.points(COUNT)} == {"reports"}


def test_nothing_is_kept_alive(tmp_path: Path, observed: Observed) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/b.db", poolclass=QueuePool)
    run(engine, "SELECT 1")
    assert states(observed) == {"idle": 1, "used": 0}
    kept = [weakref.ref(engine), weakref.ref(engine.pool), weakref.ref(engine.dialect)]
    engine.dispose()
    del engine
    gc.collect()
    assert [each() for each in kept] == [None, None, None]
    assert observed.points(COUNT) == observed.points(DOWN) == []


# -- waiting ----------------------------------------------------------------------------------


def test_who_waits(make: Make, observed: Observed) -> None:
    engine = make(pool_size=1, max_overflow=0, pool_timeout=60)
    held = engine.connect()
    assert value(observed, PENDING) == 0
    threads = [threading.Thread(target=lambda: engine.connect().close()) for _ in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: value(observed, PENDING) == 2)
    held.close()
    for thread in threads:
        thread.join(60)
    assert value(observed, PENDING) == 0
    assert count(observed, WAIT) == 3


def test_who_waits_in_vain(make: Make, observed: Observed) -> None:
    engine = make(pool_size=1, max_overflow=0, pool_timeout=0.01)
    with engine.connect(), pytest.raises(sa.exc.TimeoutError):
        engine.connect()
    assert value(observed, names.DB_CLIENT_CONNECTION_TIMEOUTS.name) == 1
    assert value(observed, PENDING) == 0
    assert value(observed, DOWN) == 0  # it is busy, not down
    assert count(observed, WAIT) == 1


def test_how_long(make: Make, observed: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(pools, "perf_counter", lambda: now[0])
    engine = make()

    def slowly(*_: Any) -> None:
        now[0] += 2

    event.listen(engine, "do_connect", slowly)
    engine.connect().close()
    engine.connect().close()
    (wait,) = observed.points(WAIT)
    assert (wait.count, wait.sum) == (2, 2.0)
    assert wait.explicit_bounds == names.DB_CLIENT_CONNECTION_WAIT_TIME.buckets
    (create,) = observed.points(names.DB_CLIENT_CONNECTION_CREATE_TIME.name)
    assert (create.count, create.sum) == (1, 2.0)
    assert observed.points(names.DB_CLIENT_CONNECTION_USE_TIME.name) == []


def test_use_time_is_an_option(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN", raising=False)
    observed, now, engine = Observed(), [0.0], make()
    observed.instrument(pool_use_time=True)
    try:
        monkeypatch.setattr(pools, "perf_counter", lambda: now[0])
        with engine.connect():
            now[0] += 3
        with engine.connect() as connection:
            connection.detach()  # never given back
        (use,) = observed.points(names.DB_CLIENT_CONNECTION_USE_TIME.name)
        assert (use.count, use.sum) == (1, 3.0)
    finally:
        SQLAlchemyInstrumentor().uninstrument()


def test_suppressed(make: Make, observed: Observed) -> None:
    engine = make()
    with suppress_instrumentation():
        run(engine, "SELECT 1")
    assert observed.points(WAIT) == []
    run(engine, "SELECT 1")
    assert count(observed, WAIT) == 1


# -- up and down ------------------------------------------------------------------------------


def test_a_database_that_cannot_be_opened_is_down(tmp_path: Path, observed: Observed) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/later/a.db", poolclass=QueuePool)
    assert value(observed, DOWN) is None
    for _ in range(2):
        with pytest.raises(sa.exc.OperationalError):
            engine.connect()
        assert value(observed, DOWN) == 1
    (tmp_path / "later").mkdir()
    run(engine, "SELECT 1")
    assert value(observed, DOWN) == 0
    engine.dispose()


@pytest.mark.parametrize(
    ("error", "down"), [(ConnectionRefusedError("no"), 1), (TimeoutError(), 1), (ValueError("mine"), None)]
)
def test_what_a_driver_lets_through(
    make: Make, observed: Observed, error: Exception, down: int | None
) -> None:
    engine = make()

    def refuse(*_: Any) -> None:
        raise error

    event.listen(engine, "do_connect", refuse)
    with pytest.raises(type(error)):
        engine.connect()
    assert value(observed, DOWN) == down


def test_a_connection_that_breaks(make: Make, observed: Observed) -> None:
    engine = make()
    broken = [True]

    def refuse(*_: Any) -> None:
        if broken[0]:
            # SQLAlchemy knows this message as a disconnect.
            raise sqlite3.ProgrammingError("Cannot operate on a closed database.")

    event.listen(engine, "do_execute_no_params", refuse)
    event.listen(engine, "do_execute", refuse)
    with engine.connect() as connection:
        assert value(observed, DOWN) == 0
        with pytest.raises(sa.exc.ProgrammingError):
            connection.execute(sa.text("SELECT 1"))
    assert value(observed, DOWN) == 1
    broken[0] = False
    run(engine, "SELECT 1")
    assert value(observed, DOWN) == 0


def test_a_failed_statement_is_not_down(make: Make, observed: Observed) -> None:
    with pytest.raises(sa.exc.OperationalError):
        run(make(), "SELECT * FROM missing")
    assert value(observed, DOWN) == 0


def test_a_connection_opened_before_is_up_when_it_is_used(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN", raising=False)
    engine = make()
    with engine.connect() as connection:
        observed = Observed()
        observed.instrument()
        try:
            connection.execute(sa.text("SELECT 1"))
            assert value(observed, DOWN) == 0
        finally:
            SQLAlchemyInstrumentor().uninstrument()


# -- switching, conventions, failures ---------------------------------------------------------


def test_off_and_on_again(make: Make, observed: Observed) -> None:
    original = Engine.__dict__["raw_connection"].__wrapped__
    engine = make()
    run(engine, "SELECT 1")
    SQLAlchemyInstrumentor().uninstrument()
    assert Engine.__dict__["raw_connection"] is original
    run(engine, "SELECT 1")
    assert observed.points(COUNT) == observed.points(DOWN) == []
    before = count(observed, WAIT)
    observed.instrument()
    run(engine, "SELECT 1")
    assert states(observed) == {"idle": 1, "used": 0}
    assert count(observed, WAIT) == before + 1


def test_somebody_who_wraps_it_after_us_stays(
    make: Make, observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, calls = Engine.raw_connection, []

    def theirs(engine: Engine) -> Any:
        calls.append(engine)
        return ours(engine)

    monkeypatch.setattr(Engine, "raw_connection", theirs)
    SQLAlchemyInstrumentor().uninstrument()
    assert Engine.raw_connection is theirs
    engine = make()
    run(engine, "SELECT 1")
    assert calls == [engine]
    assert observed.points(COUNT) == observed.points(DOWN) == observed.points(WAIT) == []
    monkeypatch.undo()
    Engine.raw_connection = ours.__wrapped__  # type: ignore[attr-defined, method-assign]


@pytest.mark.parametrize(
    ("opt_in", "stable", "old"),
    [("database", True, False), ("database/dup", True, True), ("http", False, True)],
)
def test_names_by_convention(
    make: Make, monkeypatch: pytest.MonkeyPatch, opt_in: str, stable: bool, old: bool
) -> None:
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", opt_in)
    observed, engine = Observed(), make(pool_size=1, max_overflow=0, pool_timeout=0.01)
    observed.instrument(pool_use_time=True)
    try:
        with engine.connect(), pytest.raises(sa.exc.TimeoutError):
            engine.connect()
        data = observed.reader.get_metrics_data()
        assert data is not None
        told = {m.name for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}
        wanted = {
            value.name
            for key, value in vars(names).items()
            if key.startswith("DB_CLIENT_CONNECTION_") and isinstance(value, names.Metric)
        } - {DOWN}
        assert told == (wanted if stable else set()) | ({USAGE} if old else set()) | {DOWN}
        if old:
            point = observed.points(USAGE)[0]
            assert set(point.attributes) == {names.OLD_POOL_NAME, names.OLD_POOL_STATE}
            assert point.attributes[names.OLD_POOL_NAME] == f"sqlite://:/{engine.url.database}"
    finally:
        SQLAlchemyInstrumentor().uninstrument()


@pytest.mark.parametrize(
    ("where", "broken"),
    [(pools, "Database"), (pools, "get_context"), (pools.Database, "opened")],
)
def test_our_own_failure(
    make: Make,
    observed: Observed,
    where: Any,
    broken: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def explode(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(where, broken, explode)
    engine = make()
    with caplog.at_level(logging.WARNING), engine.connect() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
    records = [r for r in caplog.records if r.name == "spanwise.instrumentors._calls"]
    assert len(records) == 1
    monkeypatch.undo()
    assert value(observed, PENDING) in (0, None)


def test_a_failing_observation_costs_one_warning(
    make: Make, observed: Observed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run(make(), "SELECT 1")

    def explode(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(pools.Database, "counts", explode)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert observed.points(COUNT) == []
    assert len(caplog.records) == 1
    assert value(observed, DOWN) == 0


def test_threads_that_connect_first(make: Make, observed: Observed) -> None:
    engines = [make() for _ in range(4)]
    start = threading.Barrier(8)

    def work(engine: Engine) -> None:
        start.wait(60)
        for _ in range(20):
            run(engine, "SELECT 1")
            observed.points(COUNT)

    threads = [threading.Thread(target=work, args=(engine,)) for engine in engines * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert count(observed, WAIT) == 160
    assert states(observed)["used"] == 0
    assert value(observed, PENDING) == 0


@pytest.mark.usefixtures("observed")
def test_uninstrument_leaves_nothing_on_engines(make: Make) -> None:
    engine = make()
    optioned = engine.execution_options(logging_token="x")
    for each in (engine, optioned):
        run(each, "SELECT 1")
        assert [name for name in vars(each) if "spanwise" in name]
    SQLAlchemyInstrumentor().uninstrument()
    assert not [name for each in (engine, optioned) for name in vars(each) if "spanwise" in name]
