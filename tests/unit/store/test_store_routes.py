"""Every route of the store answers, and fails as asked."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from load_plan import plan
from media import clip_size
from models import Invoice, InvoiceLine
from sqlalchemy import event, func, select


@pytest.fixture
def app(make_app) -> Flask:
    return make_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_home_is_json_for_programs_and_a_page_for_browsers(client: FlaskClient) -> None:
    figures = client.get("/").get_json()
    assert figures["tracks"] == 500
    page = client.get("/", headers={"Accept": "text/html,*/*;q=0.5"})
    assert page.mimetype == "text/html"
    assert "500 tracks" in page.text
    assert '<a href="/tracks?genre=Rock">' in page.text


def test_tracks_are_paged_and_filtered(client: FlaskClient) -> None:
    first, second = client.get("/tracks").get_json(), client.get("/tracks?page=2").get_json()
    assert first["total"] == 500
    assert [t["id"] for t in first["tracks"]] == list(range(1, 26))
    assert [t["id"] for t in second["tracks"]] == list(range(26, 51))
    rock = client.get("/tracks?genre=Rock").get_json()
    assert 0 < rock["total"] < 500
    assert {t["genre"] for t in rock["tracks"]} == {"Rock"}
    assert client.get("/tracks?genre=Nonsense").status_code == 404
    assert client.get("/tracks?page=-5").get_json()["page"] == 1


def test_a_track_its_album_and_its_artist_agree(client: FlaskClient) -> None:
    track = client.get("/tracks/7").get_json()
    assert track == client.get("/tracks/7").get_json(), "the cached answer differs"
    album = client.get("/albums/7").get_json()
    assert album["title"] == track["album"]
    assert {"id": 7, "name": track["name"]} in album["tracks"]
    albums = client.get(f"/artists/{track['artist']['id']}/albums").get_json()
    assert albums["name"] == track["artist"]["name"]
    assert {"id": 7, "title": album["title"], "year": album["year"], "tracks": 10} in albums["albums"]


def test_search_finds_names_and_takes_wildcards_literally(client: FlaskClient) -> None:
    found = client.get("/search?q=RIVER").get_json()
    assert found["tracks"]
    assert all("river" in t["name"].lower() for t in found["tracks"])
    assert client.get("/search?q=%25%25").get_json() == {"tracks": [], "albums": [], "artists": []}
    assert client.get("/search?q=a").status_code == 400


def invoices(app: Flask) -> tuple[int, int]:
    with app.extensions["store"].session() as session:
        count = lambda model: session.scalar(select(func.count()).select_from(model))  # noqa: E731
        return count(Invoice), count(InvoiceLine)


def test_checkout_writes_an_invoice_with_its_lines(app: Flask, client: FlaskClient) -> None:
    before = invoices(app)
    answer = client.post("/checkout", json={"customer_id": 1, "track_ids": [1, 20, 1]})
    assert answer.status_code == 201
    assert answer.get_json() == {"invoice_id": before[0] + 1, "lines": 2, "total_cents": 99 + 199}
    assert invoices(app) == (before[0] + 1, before[1] + 2)
    member = client.post("/checkout", json={"customer_id": 5, "track_ids": [1, 20]}).get_json()
    assert member["total_cents"] == 90 + 180


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([], 400),
        ({"customer_id": "1", "track_ids": [1]}, 400),
        ({"customer_id": True, "track_ids": [1]}, 400),
        ({"customer_id": 1, "track_ids": []}, 400),
        ({"customer_id": 1, "track_ids": ["1"]}, 400),
        ({"customer_id": 1, "track_ids": [2**40]}, 400),
        ({"customer_id": 1, "track_ids": list(range(1, 60))}, 400),
        ({"customer_id": 9_999, "track_ids": [1]}, 404),
        ({"customer_id": 1, "track_ids": [1, 501]}, 404),
    ],
)
def test_a_bad_basket_buys_nothing(app: Flask, client: FlaskClient, body: Any, status: int) -> None:
    before = invoices(app)
    assert client.post("/checkout", json=body).status_code == status
    assert invoices(app) == before


def test_without_the_pricing_plugin_the_list_price_holds(make_app) -> None:
    client = make_app(STORE_PLUGINS="recommendations").test_client()
    assert client.post("/checkout", json={"customer_id": 5, "track_ids": [1]}).get_json()["total_cents"] == 99


def test_a_plugin_that_cannot_load_is_left_out(make_app, monkeypatch, caplog) -> None:
    def no_table(_seconds: float) -> None:
        raise RuntimeError("the price table is not there")

    monkeypatch.setattr("time.sleep", no_table)  # what the plugin does when it is set up
    manager = make_app(STORE_PLUGINS="pricing,missing,recommendations").extensions["store"].plugins
    assert [name for name, _ in manager.list_name_plugin()] == ["recommendations"]
    assert "plugin pricing could not be loaded" in caplog.text
    assert "plugin missing could not be loaded" in caplog.text


def test_recommendations_come_from_the_plugin_and_are_kept_until_the_next_purchase(
    app: Flask, client: FlaskClient
) -> None:
    found = client.get("/recommendations/3").get_json()
    assert 1 <= len(found["tracks"]) <= 10
    cache = app.extensions["store"].cache
    assert cache.get("recommended:3") == [t["id"] for t in found["tracks"]]
    assert client.get("/recommendations/3").get_json() == found
    client.post("/checkout", json={"customer_id": 3, "track_ids": [1]})
    assert cache.get("recommended:3") is None
    assert client.get("/recommendations/9999").status_code == 404


def test_failures_as_asked_for(client: FlaskClient, caplog) -> None:
    assert client.get("/fail").status_code == 500
    assert "RuntimeError: as asked for" in caplog.text
    assert client.get("/fail?kind=db").status_code == 500
    assert "no such table: no_such_table" in caplog.text
    assert client.get("/fail?kind=abort").status_code == 404
    assert client.get("/fail?kind=other").status_code == 400


@pytest.mark.parametrize(
    ("asked", "slept"), [("0.01", 0.01), ("99", 0.05), ("-1", 0.0), ("nan", 0.0), ("x", 0.05)]
)
@pytest.mark.parametrize("where", ["app", "db"])
def test_slow_is_bounded(make_app, where: str, asked: str, slept: float) -> None:
    client = make_app(STORE_SLOW_LIMIT="0.05").test_client()
    assert client.get(f"/slow?seconds={asked}&where={where}").get_json() == {"slept": slept, "where": where}


def test_streaming_sends_the_file_in_chunks(app: Flask, client: FlaskClient) -> None:
    response = client.get("/stream/5", buffered=False)
    assert response.mimetype == "audio/aac"
    assert response.content_length is None
    chunks = list(response.iter_encoded())
    assert len(chunks) > 1
    assert b"".join(chunks) == app.extensions["store"].library.path(5).read_bytes()
    assert sum(map(len, chunks)) == clip_size(5)
    assert client.get("/stream/501").status_code == 404


def test_streaming_prefers_what_is_preloaded(app: Flask, client: FlaskClient) -> None:
    controller = app.extensions["store"].preloader.preload(5)
    assert controller.done.wait(60)
    controller.content = b"from memory"
    assert client.get("/stream/5").data == b"from memory"


def test_a_stream_can_break(client: FlaskClient) -> None:
    response = client.get("/stream/5?break_after=1", buffered=False)
    chunks = response.iter_encoded()
    assert len(next(chunks)) == 16 * 1024
    with pytest.raises(OSError, match="after 1 chunks"):
        next(chunks)


def test_health(app: Flask, client: FlaskClient, monkeypatch) -> None:
    for path in ("/health", "/healthz"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.get_json() == {"database": "up", "cache": "up", "breaker": "closed"}
    monkeypatch.setattr(app.extensions["store"].cache, "alive", lambda: False)
    assert client.get("/healthz").get_json()["cache"] == "down"
    assert client.get("/healthz").status_code == 200

    @event.listens_for(app.extensions["store"].engine, "do_connect")
    def refuse(*_: object) -> None:
        import sqlite3

        raise sqlite3.OperationalError("away")

    app.extensions["store"].engine.dispose()
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.get_json()["database"] == "down"


@pytest.mark.parametrize(
    "path", ["/nowhere", "/tracks/501", "/albums/51", "/artists/99", "/tracks/9" + "9" * 30, "/lyrics/501"]
)
def test_what_is_not_there_is_a_404_in_json(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.get_json()["error"] == "Not Found"


def test_a_typical_request_takes_a_few_statements(app: Flask, client: FlaskClient) -> None:
    statements: list[str] = []
    event.listen(app.extensions["store"].engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    taken: dict[str, int] = {}
    for request in plan(1, 120, "browse", 500):
        statements.clear()
        assert client.get(request.path).status_code == 200
        taken[request.route] = max(taken.get(request.route, 0), len(statements))
    assert len(taken) == 6
    assert all(2 <= count <= 5 for count in taken.values()), taken
