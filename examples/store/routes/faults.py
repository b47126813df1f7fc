"""Things that go wrong when asked to."""

from __future__ import annotations

import time

from flask import Blueprint, Response, abort, jsonify, request
from sqlalchemy import text

from context import seconds_arg, store

blueprint = Blueprint("faults", __name__)


@blueprint.get("/fail")
def fail() -> Response:
    """`?kind=exception` (500, the default), `db` (500, a statement that fails) or `abort` (404)."""
    kind = request.args.get("kind", "exception")
    if kind == "db":
        with store().session() as session:
            session.execute(text("select name from no_such_table"))
    if kind == "abort":
        abort(404, "as asked for")
    if kind == "exception":
        raise RuntimeError("as asked for")
    abort(400, "kind must be exception, db or abort")


@blueprint.get("/slow")
def slow() -> Response:
    """Takes `?seconds=` (1, at most STORE_SLOW_LIMIT), in the app or in a statement (`&where=db`)."""
    seconds = seconds_arg("seconds", 1.0)
    where = request.args.get("where", "app")
    if where == "db":
        with store().session() as session:
            session.execute(text("select pg_sleep(:seconds)"), {"seconds": seconds}).all()
    elif where == "app":
        time.sleep(seconds)
    else:
        abort(400, "where must be app or db")
    return jsonify(slept=seconds, where=where)
