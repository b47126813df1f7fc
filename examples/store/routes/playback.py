"""Preloading media and streaming it."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import spanwise
from flask import Blueprint, Response, abort, jsonify, request
from sqlalchemy import select

from context import seconds_arg, store
from models import MediaType, Track
from preload import READY, PreloadLimit

if TYPE_CHECKING:
    from spanwise.manual.streaming import Stream

blueprint = Blueprint("playback", __name__)
log = logging.getLogger("store.playback")

CHUNK = 16 * 1024
PRELOAD_AT_ONCE = 10


@blueprint.post("/preload")
def preload() -> tuple[Response, int]:
    """Begins to load {"track_ids": [n, …], "delay": seconds}; 429 when all controllers are busy."""
    body = request.get_json()
    ids = body.get("track_ids") if isinstance(body, dict) else None
    if not isinstance(ids, list) or not all(type(t) is int and 0 < t < 2**31 for t in ids):
        abort(400, "track_ids must be a list of numbers")
    delay = body.get("delay", 0.0)
    if type(delay) not in (int, float) or not 0 <= delay <= store().settings.slow_limit:
        abort(400, f"delay must be 0 to {store().settings.slow_limit:g} seconds")
    if not 1 <= len(ids) <= PRELOAD_AT_ONCE:
        abort(400, f"1 to {PRELOAD_AT_ONCE} tracks at once")
    with store().session() as session:
        known = set(session.scalars(select(Track.id).where(Track.id.in_(ids))))
    unknown = [track_id for track_id in ids if track_id not in known]
    if unknown:
        abort(404, f"no track {unknown[0]}")
    try:
        controllers = [store().preloader.preload(track_id, delay) for track_id in ids]
    except PreloadLimit as error:
        abort(429, str(error))
    return jsonify(controllers=[c.as_dict() for c in controllers]), 202


@blueprint.get("/controllers")
def controllers() -> Response:
    """What this process has preloaded."""
    return jsonify(store().preloader.snapshot())


@blueprint.delete("/controllers")
def trim() -> Response:
    """Frees memory: keeps the `keep` (0) most recently used controllers."""
    return jsonify(disposed=store().preloader.trim(max(0, request.args.get("keep", 0, type=int))))


@blueprint.delete("/controllers/<int:track_id>")
def dispose(track_id: int) -> tuple[str, int]:
    """Disposes of one controller."""
    if not store().preloader.dispose(track_id):
        abort(404, f"track {track_id} is not preloaded")
    return "", 204


@blueprint.get("/stream/<int:track_id>")
def stream(track_id: int) -> Response:
    """The media in chunks. `?stall=SECONDS` waits between them; `?break_after=N` fails after N."""
    with store().session() as session:
        query = (
            select(MediaType.mime)
            .join(Track, Track.media_type_id == MediaType.id)
            .where(Track.id == track_id)
        )
        mime = session.scalar(query)
        if mime is None:
            abort(404, f"no track {track_id}")
    controller = store().preloader.get(track_id)
    source: BinaryIO
    if controller is not None and controller.state == READY:
        source = io.BytesIO(controller.content)
    else:
        source = store().library.path(track_id).open("rb")
    break_after = request.args.get("break_after", type=int)
    playing = spanwise.stream(track_id, format=mime).start()
    chunks = _chunks(source, playing, track_id, seconds_arg("stall"), break_after)
    response = Response(chunks, mimetype=mime)
    # A client that leaves before the first chunk never starts the generator.
    response.call_on_close(source.close)
    response.call_on_close(playing.close)
    return response


def _chunks(
    source: BinaryIO, playing: Stream, track_id: int, stall: float, break_after: int | None
) -> Iterator[bytes]:
    sent = 0
    while chunk := source.read(CHUNK):
        if sent == break_after:
            error = OSError(f"track {track_id}: the media could not be read after {sent} chunks")
            playing.fail(error)
            raise error
        if sent:
            with playing.buffering():
                time.sleep(stall)
        yield chunk
        playing.sent(len(chunk))
        sent += 1
    playing.stop()
    log.info("streamed track %d in %d chunks", track_id, sent)
