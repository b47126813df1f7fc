from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import duckdb
import pytest

from spanwise.console.queries.accounting import account
from spanwise.console.queries.summary import summarise
from spanwise.console.queries.trace import one_trace
from spanwise.console.store import Store, StoreBusy
from spanwise.errors import ConfigurationError


def put(store: Store, batch: Any, size: int = 1) -> None:
    store.submit(batch, size).result(20)


def test_what_is_done_is_committed_and_survives_reopening(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "new folder" / "a.duckdb"
    store = Store(path)
    put(store, make.batch(make.row("a"), make.row("b")))
    with store.reading() as cursor:
        assert summarise(cursor).spans == 2
    store.close()
    store.close()
    again = Store(path)
    put(again, make.batch(make.row("b"), make.row("c")))  # b is a repetition
    with again.reading() as cursor:
        assert summarise(cursor).spans == 3
    again.close()


def test_a_span_sent_twice_is_stored_once(store: Store, make: Any) -> None:
    put(store, make.batch(make.row("a"), make.row("a"), make.row("b")))
    put(store, make.batch(make.row("a"), make.row("a", trace_id="other")))
    with store.reading() as cursor:
        assert summarise(cursor).spans == 3


def test_hostile_text_comes_back_as_it_was(store: Store, make: Any) -> None:
    name = "\0'; drop table spans; -- <img src=x onerror=alert(1)> ${env:HOME} {{7*7}} 🐍"
    attributes = '{"k\\u0000":"\\u0000<b>"}'
    put(store, make.batch(make.row("a", name=name, attributes=attributes)))
    with store.reading() as cursor:
        found = one_trace(cursor, "t")
    assert found is not None
    assert found.name == name
    assert found.spans[0].attributes == {"k\0": "\0<b>"}


def test_old_rows_go_and_the_account_still_adds_up(tmp_path: Path, make: Any) -> None:
    store = Store(tmp_path / "a.duckdb", max_rows=100)
    for start in range(0, 500, 10):
        put(
            store,
            make.batch(
                *(make.row(str(n)) for n in range(start, start + 10)),
                points=[make.point(n) for n in range(start, start + 10)],
            ),
        )
    store.close()  # the writer has ended, so the last removal is done
    store = Store(tmp_path / "a.duckdb", max_rows=100)
    with store.reading() as cursor:
        summary = summarise(cursor)
        kept = {row[0] for row in cursor.execute("select span_id from spans").fetchall()}
        (entry,) = account(cursor)
    store.close()
    assert 100 <= summary.spans <= 120
    assert summary.points <= 120
    assert kept == {str(n) for n in range(500 - summary.spans, 500)}
    assert entry.stored == 500


def test_a_full_queue_refuses_and_loses_nothing_it_took(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go = threading.Event(), threading.Event()
    write = Store._write

    def slow(self: Store, *args: Any) -> None:
        entered.set()
        assert go.wait(60)
        write(self, *args)

    monkeypatch.setattr(Store, "_write", slow)
    store = Store(Path(":memory:"), max_waiting_bytes=100)
    taken = [store.submit(make.batch(make.row("a")), 90)]
    assert entered.wait(60)  # the first is being written; the queue is empty again
    taken.append(store.submit(make.batch(make.row("b")), 90))
    with pytest.raises(StoreBusy):
        store.submit(make.batch(make.row("c")), 90)
    go.set()
    for done in taken:
        done.result(20)
    with store.reading() as cursor:
        assert summarise(cursor).spans == 2
    store.close()
    with pytest.raises(StoreBusy):
        store.submit(make.batch(make.row("d")), 1)


def test_a_batch_the_database_refuses_takes_no_neighbour_with_it(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go = threading.Event(), threading.Event()
    take = Store._take

    def held(self: Store) -> Any:
        entered.set()
        assert go.wait(60)
        return take(self)

    monkeypatch.setattr(Store, "_take", held)
    store = Store(Path(":memory:"))
    assert entered.wait(60)
    good = store.submit(make.batch(make.row("a")), 1)
    bad = store.submit(make.batch(make.row("b", start_ns=2**70)), 1)
    more = store.submit(make.batch(make.row("c")), 1)
    go.set()
    good.result(20)
    more.result(20)
    with pytest.raises(duckdb.Error):
        bad.result(20)
    with store.reading() as cursor:
        assert summarise(cursor).spans == 2
    store.close()


def test_closing_writes_what_waits(tmp_path: Path, make: Any) -> None:
    store = Store(tmp_path / "a.duckdb")
    waiting = [store.submit(make.batch(make.row(str(n))), 1) for n in range(50)]
    store.close()
    assert all(done.done() and done.exception() is None for done in waiting)
    again = Store(tmp_path / "a.duckdb")
    with again.reading() as cursor:
        assert summarise(cursor).spans == 50
    again.close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 400)
    with pytest.raises(ConfigurationError, match=r"notes\.txt.*--database"):
        Store(path)
    assert path.read_text().startswith("not a database")


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    Store(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("update console_schema set version = 99")
    with pytest.raises(ConfigurationError, match="schema version 99"):
        Store(path)


def test_a_file_open_in_another_process_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    store = Store(path)
    code = (
        "import sys; from pathlib import Path; from spanwise.console.store import Store\n"
        "try: Store(Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    store.close()
    assert "ConfigurationError The database is open in another process" in told.stdout
