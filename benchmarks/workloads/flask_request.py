"""A Flask request with three SQL statements and two Redis calls: microseconds of process CPU.

Usage: flask_request.py DRIVER REDIS_PORT   (a chunk of requests for each line of standard input)
"""

from __future__ import annotations

import sys
import time
from typing import Any

from bench_common import driver, report

WARM_UP = 200
CHUNK = 100  # requests between two flushes: some 600 spans, well below every arm's queue
CHUNKS = 3  # a line, after one that is not timed
SPANS = 6  # the least a request must give: one of the server, three of SQL, two of Redis


def application(redis_port: int) -> tuple[Any, Any]:
    """The application and its database engine."""
    import redis
    from flask import Flask, jsonify
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import StaticPool

    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    cache = redis.Redis(port=redis_port)
    with engine.begin() as connection:
        connection.execute(text("create table album (id integer primary key, title text, plays integer)"))
        connection.execute(
            text("insert into album values (:id, :title, 0)"),
            [{"id": number, "title": f"Album {number}"} for number in range(1000)],
        )
    app = Flask("bench")
    one = text("select title from album where id = :id")
    count = text("select count(*) from album where id < :id")
    play = text("update album set plays = plays + 1 where id = :id")

    @app.get("/albums/<int:number>")
    def album(number: int) -> Any:
        seen = cache.get(f"album:{number}")
        with engine.begin() as connection:
            title = connection.execute(one, {"id": number}).scalar()
            before = connection.execute(count, {"id": number}).scalar()
            connection.execute(play, {"id": number})
        cache.set(f"album:{number}", title or "")
        return jsonify(title=title, before=before, seen=seen is not None)

    return app, engine


def main() -> None:
    """Driven in the process through the WSGI interface; the first line is answered after a warm-up."""
    arm = driver(sys.argv[1])
    app, engine = application(int(sys.argv[2]))
    arm.instrument(app, engine)
    client = app.test_client()
    answered = 0

    def ask() -> None:
        nonlocal answered
        for number in range(answered, answered + CHUNK):
            # Closed as a server closes it: some arms end their span only then.
            with client.get(f"/albums/{number % 1000}") as answer:
                if answer.status_code != 200:
                    raise RuntimeError(f"the application answered {answer.status}")
        arm.flush()
        answered += CHUNK

    while answered < WARM_UP:
        ask()
    for _ in sys.stdin:
        # Untimed: what the other arms left in the processor's caches is no part of a request's cost.
        ask()
        started = time.process_time()
        for _ in range(CHUNKS):
            ask()
        print((time.process_time() - started) / CHUNK / CHUNKS * 1e6, flush=True)
    started = time.process_time()
    getattr(arm, "flush_metrics", arm.flush)()
    once = (time.process_time() - started) / (answered - WARM_UP) * 1e6
    report({"once": once}, any_spans=SPANS * answered, requests=answered)


if __name__ == "__main__":
    main()
