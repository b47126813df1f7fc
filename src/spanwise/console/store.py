"""The console's store: a DuckDB file that one thread writes and any thread reads.

A sender is answered only after its data is committed, so an answer of 200 survives a kill. The writer takes
all that waits and commits it at once; a burst costs one commit, not one each. What waits is bounded in
bytes: past the bound ``submit`` refuses, the sender gets 503 with Retry-After, and keeps its data.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from spanwise.console.rows import Batch, SpanRow
from spanwise.console.schema import COLUMN_TYPES, TABLES, open_database, readable
from spanwise.console.trouble import FullDisk, is_full, roll_back
from spanwise.log import Log
from spanwise.threads import started

if TYPE_CHECKING:
    import duckdb

__all__ = ["MAX_ROWS", "Store", "StoreBusy"]

# About 1 GB of file at some 1 kB a row. Raising it slows the list page, which groups every span.
MAX_ROWS: Final = 1_000_000
# Four bodies of the largest size; decoded they take a few times that in memory.
_MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
# A repeated span (a sender that did not hear our answer) is recognised among this many latest ones.
_REMEMBERED_SPANS: Final = 100_000
# Delete a tenth at a time: deleting on every batch would rewrite the file all the time.
_SLACK: Final = 10


_log = Log(__name__)


class StoreBusy(Exception):
    """Too much waits to be written, the file takes nothing, or the store closes. Senders should come back."""


class _Job(NamedTuple):
    batch: Batch
    size: int
    done: Future[None]


class Store:
    """A DuckDB file with one writer.

    Args:
        path: the file; created when it does not exist. ``:memory:`` for none.
        max_rows: how many rows each table keeps; the oldest arrivals go first.
        max_waiting_bytes: how many bytes of request bodies may wait for the writer.

    Raises:
        ConfigurationError: the file cannot be used.
    """

    def __init__(
        self, path: Path, *, max_rows: int = MAX_ROWS, max_waiting_bytes: int = _MAX_WAITING_BYTES
    ) -> None:
        self._path = path
        self._connection = open_database(path)
        self._max_rows = max_rows
        self._max_waiting_bytes = max_waiting_bytes
        self._jobs: deque[_Job] = deque()
        self._waiting_bytes = 0
        self._closing = False
        self._wake = threading.Condition()
        self._generation = 0
        self._next_seq: dict[str, int] = {}
        self._rows: dict[str, int] = {}
        self._remembered: dict[str, None] = {}
        self._resources: set[str] = set()
        self._full = FullDisk(path)
        self._failed = False
        try:
            self._load()
        except BaseException:
            self._connection.close()
            raise
        self._writer = started(self._run, "spanwise-console-writer")

    @property
    def generation(self) -> int:
        """Grows with every commit: an answer made at the same generation is still right."""
        return self._generation

    def submit(self, batch: Batch, size: int) -> Future[None]:
        """Hand over a batch; the future ends when it is committed, or with the reason why it is not.

        Args:
            size: bytes of the body it came in, counted against the bound.

        Raises:
            StoreBusy: the bound is reached or the store is closing; nothing was taken.
        """
        job = _Job(batch, size, Future())
        with self._wake:
            if self._closing:
                raise StoreBusy("the console is closing")
            # One batch is always taken, however large: refusing it would refuse it for ever.
            if self._jobs and self._waiting_bytes + size > self._max_waiting_bytes:
                raise StoreBusy("too much waits to be written")
            self._jobs.append(job)
            self._waiting_bytes += size
            self._wake.notify()
        return job.done

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor of its own for the calling thread; it sees what is committed."""
        cursor = self._connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    def close(self) -> None:
        """Write all that waits, then close the file. May be called twice."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._writer is not None:
            self._writer.join()
        self._connection.close()

    # -- the writer's thread ------------------------------------------------------------------

    def _load(self) -> None:
        with readable(str(self._path)):
            self._read_what_is_there()

    def _read_what_is_there(self) -> None:
        for table in TABLES:
            last, rows = self._one(f"select coalesce(max(seq), 0), count(*) from {table}")
            self._next_seq[table] = last + 1
            self._rows[table] = rows
        latest = self._connection.execute(
            "select trace_id || span_id from (select * from spans order by seq desc limit ?) order by seq",
            [_REMEMBERED_SPANS],
        ).fetchall()
        self._remembered = dict.fromkeys(row[0] for row in latest)
        self._resources = {
            row[0] for row in self._connection.execute("select resource_id from resources").fetchall()
        }

    def _one(self, sql: str) -> tuple[Any, ...]:
        return self._connection.execute(sql).fetchone() or (0, 0)

    def _run(self) -> None:
        cursor = self._connection.cursor()
        while jobs := self._take():
            try:
                self._write(cursor, jobs)
            except Exception as error:
                # One batch that the database refuses must not take its neighbours with it.
                for job in jobs:
                    self._write_alone(cursor, job, error if len(jobs) == 1 or is_full(error) else None)
            else:
                self._full.ends()
                for job in jobs:
                    job.done.set_result(None)
            if self._failed:
                self._failed = False
                cursor = self._opened_again(cursor)
            if self._full.on:
                continue  # removing rows takes room too
            try:
                self._trim(cursor)
            except Exception as error:
                # What was answered is committed; only the removal of old rows waits for the next batch.
                _log.seldom("The console could not remove old rows: %s", error)
        cursor.close()

    def _opened_again(self, cursor: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
        """The cursor; a new one where DuckDB has given up the file, as it does after some errors."""
        try:
            cursor.execute("select 1").fetchall()
            return cursor
        except Exception:
            try:
                cursor.close()
                self._connection.close()
                self._connection = open_database(self._path)
                self._load()
                return self._connection.cursor()
            except Exception as error:
                _log.seldom("The console cannot open its file again: %s", error)
                return cursor

    def _take(self) -> list[_Job]:
        with self._wake:
            while True:
                while not self._jobs and not self._closing:
                    self._wake.wait()
                jobs = list(self._jobs)
                self._jobs.clear()
                self._waiting_bytes = 0
                # From here on nobody can cancel; a sender that is gone was never answered and will repeat.
                taken = [job for job in jobs if job.done.set_running_or_notify_cancel()]
                if taken or self._closing:
                    return taken

    def _write_alone(self, cursor: duckdb.DuckDBPyConnection, job: _Job, error: Exception | None) -> None:
        try:
            if error is not None:
                raise error
            self._write(cursor, [job])
        except Exception as failure:
            self._failed = True
            if is_full(failure):
                self._full.begins()
                failure = StoreBusy("the disk of the console's file is full")
            job.done.set_exception(failure)
        else:
            self._full.ends()
            job.done.set_result(None)

    def _write(self, cursor: duckdb.DuckDBPyConnection, jobs: Sequence[_Job]) -> None:
        spans = self._new_spans(jobs)
        rows: dict[str, Sequence[tuple[Any, ...]]] = {
            "spans": list(spans.values()),
            "points": [point for job in jobs for point in job.batch.points],
            "logs": [log for job in jobs for log in job.batch.logs],
        }
        resources = {
            resource.resource_id: resource
            for job in jobs
            for resource in job.batch.resources
            if resource.resource_id not in self._resources
        }
        cursor.begin()
        try:
            if resources:
                columns = [list(column) for column in zip(*resources.values(), strict=True)]
                cursor.execute(
                    "insert into resources select unnest(?), unnest(?), unnest(?), unnest(?)", columns
                )
            for table, items in rows.items():
                self._insert(cursor, table, items)
            cursor.commit()
        except BaseException:
            roll_back(cursor)
            raise
        self._resources.update(resources)
        self._remember(spans)
        for table, items in rows.items():
            self._next_seq[table] += len(items)
            self._rows[table] += len(items)
        self._generation += 1

    def _new_spans(self, jobs: Sequence[_Job]) -> dict[str, SpanRow]:
        spans: dict[str, SpanRow] = {}
        for job in jobs:
            for span in job.batch.spans:
                key = span.trace_id + span.span_id
                if key not in self._remembered:
                    spans.setdefault(key, span)
        return spans

    def _remember(self, spans: dict[str, SpanRow]) -> None:
        self._remembered.update(dict.fromkeys(spans))
        while len(self._remembered) > _REMEMBERED_SPANS:
            del self._remembered[next(iter(self._remembered))]

    def _insert(self, cursor: duckdb.DuckDBPyConnection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if not rows:
            return
        first = self._next_seq[table]
        # Lists per column: 170,000 rows a second, against 1,100 with executemany.
        columns = [list(column) for column in zip(*rows, strict=True)]
        unnests = ", ".join(f"unnest(?::{kind}[])" for kind in COLUMN_TYPES[table].values())
        cursor.execute(
            f"insert into {table} select unnest(range(?, ?)), {unnests}", [first, first + len(rows), *columns]
        )

    def _trim(self, cursor: duckdb.DuckDBPyConnection) -> None:
        for table in TABLES:
            if self._rows[table] <= self._max_rows + self._max_rows // _SLACK:
                continue
            oldest_kept = self._next_seq[table] - self._max_rows
            cursor.begin()
            try:
                if table == "spans":
                    cursor.execute(
                        "insert into evicted select service, instance, count(*) from spans"
                        " where seq < ? group by all",
                        [oldest_kept],
                    )
                cursor.execute(f"delete from {table} where seq < ?", [oldest_kept])
                cursor.commit()
            except BaseException:
                roll_back(cursor)
                raise
            self._rows[table] = self._max_rows
            self._generation += 1
