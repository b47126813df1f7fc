"""Whether the store can serve."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, jsonify
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from context import store

blueprint = Blueprint("health", __name__)
log = logging.getLogger("store.health")


@blueprint.get("/health")
@blueprint.get("/healthz")
def healthz() -> tuple[Response, int]:
    """200 with the database up, 503 without. A cache that is down makes the store slower, not ill."""
    try:
        with store().session() as session:
            session.execute(text("select 1")).all()
        database = "up"
    except SQLAlchemyError as error:
        log.error("the database does not answer: %s", error)
        database = "down"
    cache = "up" if store().cache.alive() else "down"
    body = jsonify(database=database, cache=cache, breaker=store().lyrics.state)
    return body, 200 if database == "up" else 503
