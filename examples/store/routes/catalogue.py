"""Looking around: home, tracks, albums, artists, search."""

from __future__ import annotations

from typing import Any

import spanwise
from flask import Blueprint, Response, abort, jsonify, render_template_string, request
from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload, selectinload

from context import store
from models import Album, Artist, Genre, Playlist, Track

blueprint = Blueprint("catalogue", __name__)

PAGE_SIZE = 25
HOME = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Media store</title>
<h1>Media store</h1>
<p>{{ counts.tracks }} tracks, {{ counts.albums }} albums, {{ counts.artists }} artists.</p>
<form action="/search"><label>Search <input name="q"></label> <button>Go</button></form>
<ul>{% for genre in counts.genres %}<li><a href="/tracks?genre={{ genre|urlencode }}">{{ genre }}</a></li>
{% endfor %}</ul></html>
"""


@blueprint.get("/")
def home() -> str | Response:
    """A page for browsers, the same figures as JSON for everyone else."""
    counts = store().cache.get("home")
    if counts is None:
        with store().session() as session:
            counts = {
                "tracks": session.scalar(select(func.count()).select_from(Track)),
                "albums": session.scalar(select(func.count()).select_from(Album)),
                "artists": session.scalar(select(func.count()).select_from(Artist)),
                "genres": list(session.scalars(select(Genre.name).order_by(Genre.name))),
            }
        store().cache.set("home", counts)
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
        with spanwise.operation("render home", kind="component.render", component="home"):
            return render_template_string(HOME, counts=counts)
    return jsonify(counts)


@blueprint.get("/tracks")
def tracks() -> Response:
    """A page of tracks, of one genre or all."""
    genre = request.args.get("genre")
    page = min(max(1, request.args.get("page", 1, type=int)), 10_000)
    with store().session() as session:
        query = select(Track).options(joinedload(Track.genre), joinedload(Track.album))
        count = select(func.count()).select_from(Track)
        if genre is not None:
            genre_id = session.scalar(select(Genre.id).where(Genre.name == genre))
            if genre_id is None:
                abort(404, f"no genre {genre!r}")
            query, count = query.where(Track.genre_id == genre_id), count.where(Track.genre_id == genre_id)
        key = f"count:{genre}"
        total = store().cache.get(key)
        if total is None:
            total = session.scalar(count)
            store().cache.set(key, total)
        found = session.scalars(query.order_by(Track.id).limit(PAGE_SIZE).offset((page - 1) * PAGE_SIZE))
        return jsonify(page=page, total=total, tracks=[_brief(track) for track in found])


@blueprint.get("/tracks/<int:track_id>")
def track(track_id: int) -> Response:
    """One track with its album, artist, genre, playlists and neighbours."""
    key = f"track:{track_id}"
    found = store().cache.get(key)
    if found is None:
        with store().session() as session:
            found = _track(session, track_id)
        store().cache.set(key, found)
    return jsonify(found)


def _track(session: Session, track_id: int) -> dict[str, Any]:
    track = session.get(Track, track_id, options=[joinedload(Track.genre), joinedload(Track.media_type)])
    if track is None:
        abort(404, f"no track {track_id}")
    album = track.album
    playlists = select(Playlist.name).join(Playlist.tracks).where(Track.id == track_id).order_by(Playlist.id)
    return {
        **_brief(track),
        "media_type": track.media_type.name,
        "composer": track.composer,
        "milliseconds": track.milliseconds,
        "price_cents": track.price_cents,
        "artist": {"id": album.artist.id, "name": album.artist.name},
        "playlists": list(session.scalars(playlists)),
    }


@blueprint.get("/albums/<int:album_id>")
def album(album_id: int) -> Response:
    """One album with its tracks."""
    key = f"album:{album_id}"
    found = store().cache.get(key)
    if found is None:
        with store().session() as session:
            album = session.get(Album, album_id, options=[selectinload(Album.tracks)])
            if album is None:
                abort(404, f"no album {album_id}")
            found = {
                "id": album.id,
                "title": album.title,
                "year": album.year,
                "artist": {"id": album.artist.id, "name": album.artist.name},
                "tracks": [{"id": track.id, "name": track.name} for track in album.tracks],
            }
        store().cache.set(key, found)
    return jsonify(found)


@blueprint.get("/artists/<int:artist_id>/albums")
def artist_albums(artist_id: int) -> Response:
    """One artist's albums, each with the number of its tracks."""
    with store().session() as session:
        artist = session.get(Artist, artist_id)
        if artist is None:
            abort(404, f"no artist {artist_id}")
        lengths = (
            select(Album.id, func.count(Track.id))
            .join(Track, Track.album_id == Album.id)
            .where(Album.artist_id == artist_id)
            .group_by(Album.id)
        )
        counts = dict(session.execute(lengths).all())
        albums = [
            {"id": a.id, "title": a.title, "year": a.year, "tracks": counts.get(a.id, 0)}
            for a in artist.albums
        ]
        return jsonify(id=artist.id, name=artist.name, albums=albums)


@blueprint.get("/search")
def search() -> Response:
    """Tracks, albums and artists whose name contains `q`."""
    words = request.args.get("q", "").strip()
    if not 2 <= len(words) <= 60:
        abort(400, "q must have 2 to 60 characters")
    with store().session() as session:
        results = {
            "tracks": session.execute(_named(Track.id, Track.name, words)),
            "albums": session.execute(_named(Album.id, Album.title, words)),
            "artists": session.execute(_named(Artist.id, Artist.name, words)),
        }
        return jsonify({part: [{"id": i, "name": n} for i, n in rows] for part, rows in results.items()})


def _named(key: Any, name: Any, words: str) -> Any:
    return select(key, name).where(name.icontains(words, autoescape=True)).order_by(key).limit(10)


def _brief(track: Track) -> dict[str, Any]:
    return {"id": track.id, "name": track.name, "album": track.album.title, "genre": track.genre.name}
