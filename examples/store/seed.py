"""Fills the database: `python seed.py [--url URL] [--tracks N]`.

The same number of tracks gives the same rows everywhere. A database that has tracks is left alone.
Processes that start together wait for the first one: a lock of the database's on PostgreSQL, a
locked file beside an SQLite database. All rows are one transaction, so an interrupted run leaves none.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Table, insert, select, text

from database import make_engine
from models import Base
from settings import Settings

log = logging.getLogger("store.seed")

MEDIA_TYPES = [
    ("MPEG audio", "audio/mpeg"),
    ("AAC audio", "audio/aac"),
    ("FLAC audio", "audio/flac"),
    ("Ogg Vorbis", "audio/ogg"),
    ("MPEG-4 video", "video/mp4"),
]
# fmt: off
GENRES = [
    "Rock", "Jazz", "Metal", "Blues", "Latin", "Reggae", "Pop", "Soundtrack", "Classical",
    "Electronica", "Folk", "Soul", "Funk", "Disco", "Gospel", "Opera", "Ambient", "Techno", "House",
    "Country", "Ska", "Punk", "Swing", "Chanson", "Drama",
]
WORDS = [
    "amber", "border", "canyon", "delta", "ember", "falcon", "garden", "harbour", "island",
    "jungle", "kestrel", "lantern", "meadow", "north", "orchard", "paper", "quarry", "river",
    "silver", "thunder", "umbra", "velvet", "winter", "yellow", "zenith",
]
NAMES = [
    "Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gala", "Hugo", "Ida", "Jon", "Kira", "Leo", "Mona",
    "Nils", "Olga", "Paul", "Rosa", "Sven", "Tara", "Uwe",
]
COUNTRIES = [
    "Brazil", "Canada", "Denmark", "France", "Germany", "India", "Italy", "Norway", "Portugal",
    "Spain", "Sweden", "USA",
]
# fmt: on

BATCH = 2_000  # rows sent at once: past this the time per row stays the same, and memory grows
TRACKS_PER_ALBUM = 10
ALBUMS_PER_ARTIST = 4
CUSTOMERS, EMPLOYEES, INVOICES, PLAYLISTS, PLAYLIST_LENGTH = 200, 8, 1_000, 18, 200
_LOCK = 0x53544F5245  # any fixed number: the name of the advisory lock

Rows = Iterator[dict[str, Any]]


def seed(engine: Engine, tracks: int, progress: Callable[[int, int], None] | None = None) -> bool:
    """Creates what is missing and fills an empty database with `tracks` tracks and what belongs to them.

    `progress(done, total)` is called with rows. Returns False when there was nothing to do.
    """
    with _only_one(engine), engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(select(text(f"pg_advisory_xact_lock({_LOCK})")))
        Base.metadata.create_all(connection)
        if connection.execute(select(Base.metadata.tables["track"].c.id).limit(1)).first():
            return False
        parts = _parts(tracks)
        total, done = sum(count for _, count, _ in parts), 0
        for name, _, rows in parts:
            table = Base.metadata.tables[name]
            for written in _write(connection, table, rows):
                done += written
                if progress is not None:
                    progress(done, total)
        if engine.dialect.name == "postgresql":
            _move_sequences(connection)
    log.info("seeded %d rows, %d of them tracks", done, tracks)
    return True


@contextmanager
def _only_one(engine: Engine) -> Iterator[None]:
    if engine.dialect.name != "sqlite":
        yield
        return
    # SQLite creates tables outside the transaction, so its own lock would not cover them.
    with open(f"{engine.url.database}.seed-lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _write(connection: Connection, table: Table, rows: Rows) -> Iterator[int]:
    statement, batch = insert(table), []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            connection.execute(statement, batch)
            yield len(batch)
            batch = []
    if batch:
        connection.execute(statement, batch)
        yield len(batch)


def _move_sequences(connection: Connection) -> None:
    """Rows with given ids don't move PostgreSQL's counters: the next insert would take id 1 again."""
    for name, table in Base.metadata.tables.items():
        if "id" in table.c:
            connection.execute(
                text(f"select setval(pg_get_serial_sequence('{name}', 'id'), max(id)) from {name}")
            )


def _pick(rng: random.Random, items: list[Any]) -> Any:
    # Only random() is promised to give the same sequence in every Python.
    return items[int(rng.random() * len(items))]


def _parts(tracks: int) -> list[tuple[str, int, Rows]]:
    """(table, number of rows, rows) in an order that satisfies the foreign keys."""
    albums = -(-tracks // TRACKS_PER_ALBUM)
    artists = -(-albums // ALBUMS_PER_ARTIST)
    listed = min(PLAYLIST_LENGTH, tracks)
    lines = [1 + i % 5 for i in range(INVOICES)]
    media = [{"id": i, "name": n, "mime": m} for i, (n, m) in enumerate(MEDIA_TYPES, 1)]
    return [
        ("genre", len(GENRES), iter([{"id": i, "name": n} for i, n in enumerate(GENRES, 1)])),
        ("media_type", len(media), iter(media)),
        ("artist", artists, _artists(artists)),
        ("album", albums, _albums(albums, artists)),
        ("track", tracks, _tracks(tracks, albums)),
        ("playlist", PLAYLISTS, ({"id": i, "name": f"Playlist {i}"} for i in range(1, PLAYLISTS + 1))),
        ("playlist_track", PLAYLISTS * listed, _playlist_tracks(tracks, listed)),
        ("employee", EMPLOYEES, _employees()),
        ("customer", CUSTOMERS, _customers()),
        ("invoice", INVOICES, _invoices(lines, tracks)),
        ("invoice_line", sum(lines), _invoice_lines(lines, tracks)),
    ]


def _title(rng: random.Random, words: int) -> str:
    return " ".join(_pick(rng, WORDS) for _ in range(words)).capitalize()


def _artists(count: int) -> Rows:
    rng = random.Random(1)
    for i in range(1, count + 1):
        yield {"id": i, "name": f"The {_title(rng, 2)} {i}"}


def _albums(count: int, artists: int) -> Rows:
    rng = random.Random(2)
    for i in range(1, count + 1):
        year = 1960 + int(rng.random() * 65)
        yield {"id": i, "title": _title(rng, 2), "year": year, "artist_id": 1 + (i - 1) % artists}


def _tracks(count: int, albums: int) -> Rows:
    rng = random.Random(3)
    for i in range(1, count + 1):
        length = 90_000 + int(rng.random() * 400_000)
        yield {
            "id": i,
            "name": f"{_title(rng, 2)} {i}",
            "album_id": 1 + (i - 1) % albums,
            "media_type_id": 5 if i % 20 == 0 else 1 + i % 4,
            "genre_id": 1 + int(rng.random() ** 2 * len(GENRES)),  # some genres are much larger
            "composer": f"{_pick(rng, NAMES)} {_title(rng, 1)}" if rng.random() < 0.7 else None,
            "milliseconds": length,
            "size_bytes": length * 32,
            "price_cents": price_cents(i),
        }


def price_cents(track_id: int) -> int:
    """The list price of a seeded track: video costs more."""
    return 199 if track_id % 20 == 0 else 99


def _playlist_tracks(tracks: int, listed: int) -> Rows:
    rng = random.Random(4)
    for playlist in range(1, PLAYLISTS + 1):
        first = int(rng.random() * tracks)
        for k in range(listed):
            yield {"playlist_id": playlist, "track_id": 1 + (first + k) % tracks}


def _employees() -> Rows:
    for i in range(1, EMPLOYEES + 1):
        title = "Manager" if i == 1 else "Support"
        yield {
            "id": i,
            "name": f"{NAMES[i]} {WORDS[i].title()}",
            "title": title,
            "reports_to": None if i == 1 else 1,
        }


def _customers() -> Rows:
    rng = random.Random(5)
    for i in range(1, CUSTOMERS + 1):
        yield {
            "id": i,
            "name": f"{_pick(rng, NAMES)} {_pick(rng, WORDS).title()}",
            "email": f"customer{i}@store.example",
            "country": _pick(rng, COUNTRIES),
            "support_rep_id": 2 + i % (EMPLOYEES - 1),
        }


def _bought(invoice: int, line: int, tracks: int) -> int:
    return 1 + (invoice * 37 + line * 11) % tracks


def _invoices(lines: list[int], tracks: int) -> Rows:
    for i, count in enumerate(lines, 1):
        issued = datetime(2024, 1, 1) + timedelta(hours=11 * i)
        total = sum(price_cents(_bought(i, k, tracks)) for k in range(count))
        yield {"id": i, "customer_id": 1 + i % CUSTOMERS, "issued_at": issued, "total_cents": total}


def _invoice_lines(lines: list[int], tracks: int) -> Rows:
    number = 0
    for i, count in enumerate(lines, 1):
        for k in range(count):
            number += 1
            track = _bought(i, k, tracks)
            yield {
                "id": number,
                "invoice_id": i,
                "track_id": track,
                "price_cents": price_cents(track),
                "quantity": 1,
            }


def main(argv: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    settings = Settings.from_env()
    parser = argparse.ArgumentParser(description="Fill the store's database.")
    parser.add_argument("--url", default=settings.database_url, help="database (default: DATABASE_URL)")
    parser.add_argument("--tracks", type=int, default=settings.tracks)
    args = parser.parse_args(argv)
    engine = make_engine(args.url)
    try:
        done = _seed_with_bar(engine, args.tracks)
    finally:
        engine.dispose()
    print(f"{engine.url!r}: {'filled' if done else 'already filled'}")
    return 0


def _seed_with_bar(engine: Engine, tracks: int) -> bool:
    if not sys.stderr.isatty():
        return seed(engine, tracks)
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("seeding", total=None)
        return seed(engine, tracks, lambda done, total: bar.update(task, completed=done, total=total))


if __name__ == "__main__":
    sys.exit(main())
