"""Lyrics, and the flaky service they come from, which this store plays as well."""

from __future__ import annotations

import time

from flask import Blueprint, Response, abort, jsonify, request

from context import store
from models import Track
from upstream import LyricsUnavailable

blueprint = Blueprint("lyrics", __name__)

FAILS_EVERY, SLOW_EVERY = 10, 50  # of the tracks
SLOW_SECONDS = 0.4


def upstream_fails(track_id: int) -> bool:
    """Whether the upstream answers 503 for this track: always the same ones, so a test can say which."""
    return track_id % FAILS_EVERY == 3


def upstream_is_slow(track_id: int) -> bool:
    """Whether the upstream takes SLOW_SECONDS for this track."""
    return track_id % SLOW_EVERY == 8


@blueprint.get("/lyrics/<int:track_id>")
def lyrics(track_id: int) -> Response | tuple[Response, int]:
    """The lyrics; 503 with the breaker's state when the upstream fails or is given a rest."""
    shop = store()
    key = f"lyrics:{track_id}"
    found = shop.cache.get(key)
    if found is None:
        with shop.session() as session:
            if session.get(Track, track_id) is None:
                abort(404, f"no track {track_id}")
        try:
            found = shop.lyrics.fetch(_upstream(), track_id)
        except LyricsUnavailable as error:
            return jsonify(error="lyrics unavailable", detail=str(error), breaker=error.breaker), 503
        shop.cache.set(key, found)
    return jsonify(found)


def _upstream() -> str:
    """Where the service is. Never from the Host header: a client must not choose what we call."""
    url = store().settings.upstream_url
    if url is not None:
        return url
    host = request.environ["SERVER_NAME"]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://{host}:{request.environ['SERVER_PORT']}"


@blueprint.get("/upstream/lyrics/<int:track_id>")
def upstream_lyrics(track_id: int) -> Response:
    """The flaky service."""
    if upstream_fails(track_id):
        abort(503, "the lyrics service is out of order for this track")
    if upstream_is_slow(track_id):
        time.sleep(SLOW_SECONDS)
    return jsonify(track_id=track_id, lines=[f"line {n} of track {track_id}" for n in range(1, 5)])
