from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from spanwise.console import server
from spanwise.console.queries.accounting import account
from spanwise.console.queries.summary import summarise
from spanwise.console.queries.trace import one_trace
from spanwise.console.server import RunningConsole
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


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut off half way": lambda data: data[: len(data) // 2],
    "cut off in its head": lambda data: data[:5_000],
    "empty": lambda _: b"",
    "zeros": lambda data: bytes(len(data)),
    "a text": lambda _: b"version: 1\n" * 1_000,
    "another kind of database": lambda _: b"SQLite format 3\0" + bytes(8_176),
    "flipped bytes": lambda data: bytes(each ^ (0x55 if at >= 8_192 else 0) for at, each in enumerate(data)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_one_sentence_with_its_name(damage: str, tmp_path: Path, make: Any) -> None:
    path = tmp_path / "case.duckdb"
    store = Store(path)
    for number in range(3):
        put(store, make.batch(*(make.row(f"{number}-{each}", name="x" * 300) for each in range(500))))
    store.close()
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(ConfigurationError) as refused:
        Store(path)
    said = str(refused.value)
    assert said.startswith(f"The database cannot be opened ({path}). Name another file with --database. ")
    assert "\n" not in said


def test_a_file_of_another_program_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "theirs.duckdb"
    with duckdb.connect(str(path)) as theirs:
        theirs.execute("create table spans (mine BIGINT)")
    with pytest.raises(ConfigurationError, match="another program's"):
        Store(path)
    with duckdb.connect(str(path)) as theirs:
        assert theirs.execute("select table_name from duckdb_tables()").fetchall() == [("spans",)]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        Store(tmp_path / "file" / "in" / "it.duckdb")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_told_once_and_over_when_there_is_room(
    small: Path, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with server.start(small / "case.duckdb", token="unit-test-token-0123456789") as console:

        def send(number: int) -> tuple[int, str | None]:
            spans = (make.span(number * 1000 + each, name="x" * 2_000) for each in range(1, 300))
            sender = http.client.HTTPConnection(console.otlp_endpoint.removeprefix("http://"), timeout=60)
            sender.request(
                "POST",
                "/v1/traces",
                make.request(*spans).SerializeToString(),
                {"content-type": "application/x-protobuf"},
            )
            answer = sender.getresponse()
            answer.read()
            sender.close()
            return answer.status, answer.getheader("retry-after")

        assert send(1) == (200, None)
        with (small / "filling").open("wb", buffering=0) as filling, contextlib.suppress(OSError):
            while filling.write(bytes(1024)):
                pass
        assert [send(2), send(2), send(3)] == [(503, "1")] * 3
        (small / "filling").unlink()
        assert [send(2), send(3)] == [(200, None)] * 2
        (account,) = console.accounting()
        assert account.stored == 3 * 299
    assert [record.getMessage().partition(" ")[0] for record in caplog.records] == ["The", "There"]
    assert "no space left on device" in caplog.messages[0]
    assert "rollback" not in caplog.text


def test_a_file_that_duckdb_gives_up_is_opened_again(tmp_path: Path, make: Any) -> None:
    store = Store(tmp_path / "case.duckdb")
    put(store, make.batch(make.row("a")))
    # As after an error that DuckDB calls fatal: nothing works on the connection any more.
    store._connection.close()
    with pytest.raises(duckdb.Error):
        put(store, make.batch(make.row("b")))
    put(store, make.batch(make.row("b")))
    with store.reading() as cursor:
        assert cursor.execute("select span_id from spans order by seq").fetchall() == [("a",), ("b",)]
    store.close()


def test_what_cannot_be_read_is_an_answer_of_one_sentence(
    console: RunningConsole, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    console._store._connection.execute("drop table points")
    answers = [client.get("/api/accounting") for _ in range(3)]
    assert {answer.status for answer in answers} == {500}
    assert "cannot be read" in answers[0].json()["error"]
    assert len(caplog.records) == 1
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("version", ["x\x1b[31m" + "y" * 10_000, "2\nError: planted"])
def test_what_another_s_version_says_is_escaped_and_cut(version: str, tmp_path: Path) -> None:
    path = tmp_path / "other.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table console_schema (version varchar)")
        connection.execute("insert into console_schema values (?)", [version])
    with pytest.raises(ConfigurationError, match="schema version") as raised:
        Store(path)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 200 + len(str(path))


def test_a_pipe_makes_nobody_wait(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigurationError, match=r"cannot be opened .*It is not a regular file"):
        Store(pipe)
