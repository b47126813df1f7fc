"""The circuit breaker to the upstream, and preloading with its controllers."""

from __future__ import annotations

import threading

import pytest
from media import Library, MediaError, clip_size
from preload import FAILED, LOADING, READY, Preloader, PreloadLimit


def test_the_breaker_opens_and_recovers(make_app, serve, caplog) -> None:
    app = make_app(STORE_BREAKER_FAILURES="2", STORE_BREAKER_RESET="600")
    client, breaker = app.test_client(), app.extensions["store"].lyrics.breaker
    url = serve(app)
    port = url.rpartition(":")[2]

    def lyrics(track_id: int):
        return client.get(f"/lyrics/{track_id}", base_url=url, environ_overrides={"SERVER_PORT": port})

    assert lyrics(4).get_json()["lines"][0] == "line 1 of track 4"
    first = lyrics(13)
    assert (first.status_code, first.get_json()["breaker"]) == (503, "closed")
    assert "503 Server Error" in first.get_json()["detail"]
    assert lyrics(23).get_json()["breaker"] == "open"
    refused = lyrics(5)
    assert (refused.status_code, refused.get_json()["breaker"]) == (503, "open")
    assert lyrics(4).status_code == 200, "cached lyrics need no upstream"
    breaker.reset_timeout = 0
    assert lyrics(5).status_code == 200
    assert breaker.current_state == "closed"
    changes = [r.getMessage() for r in caplog.records if r.name == "store.upstream"]
    steps = ["closed -> open", "open -> half-open", "half-open -> closed"]
    assert changes == [f"breaker lyrics: {step}" for step in steps]


def test_the_upstream_is_never_taken_from_the_host_header(make_app) -> None:
    client = make_app(STORE_UPSTREAM_TIMEOUT="0.2").test_client()
    detail = client.get(
        "/lyrics/4",
        headers={"Host": "elsewhere.example"},
        environ_overrides={"SERVER_NAME": "127.0.0.1", "SERVER_PORT": "9"},
    ).get_json()["detail"]
    assert "127.0.0.1" in detail
    assert "elsewhere" not in detail


def test_another_upstream_by_its_url(make_app, serve) -> None:
    client = make_app(UPSTREAM_URL=serve(make_app()) + "/").test_client()
    assert client.get("/lyrics/4").get_json()["track_id"] == 4


class Gate:
    """Loads when let: content of any track is its number."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def load(self, track_id: int) -> bytes:
        assert self.open.wait(60)
        if track_id == 17:
            raise MediaError("damaged")
        return str(track_id).encode()


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def preloader(gate: Gate):
    made = Preloader(gate.load, workers=2, limit=3)
    yield made
    gate.open.set()
    made.close()


def test_a_controller_is_loading_then_ready_or_failed(preloader: Preloader, gate: Gate) -> None:
    good, bad = preloader.preload(1), preloader.preload(17)
    assert (good.state, bad.state) == (LOADING, LOADING)
    assert preloader.preload(1) is good, "the same track was loaded twice"
    gate.open.set()
    assert good.done.wait(60)
    assert bad.done.wait(60)
    assert (good.state, good.content, good.error) == (READY, b"1", None)
    assert (bad.state, bad.content, bad.error) == (FAILED, b"", "damaged")
    shown = preloader.snapshot()
    assert [shown[k] for k in ("total", LOADING, READY, FAILED, "bytes")] == [2, 0, 1, 1, 1]
    assert shown["totals"] == {"loaded": 1, "failed": 1, "disposed": 0}
    assert preloader.preload(17) is not bad, "a failed track is tried again"


def test_the_limit_holds_and_the_least_recently_used_goes(preloader: Preloader, gate: Gate) -> None:
    controllers = [preloader.preload(n) for n in (1, 2, 3)]
    with pytest.raises(PreloadLimit, match="3 items are loading"):
        preloader.preload(4)
    gate.open.set()
    assert all(c.done.wait(60) for c in controllers)
    assert preloader.get(1) is controllers[0]
    assert preloader.preload(4).done.wait(60)
    assert preloader.get(2) is None
    assert controllers[1].disposed
    assert controllers[1].content == b""
    assert preloader.snapshot()["total"] == 3


def test_disposing(preloader: Preloader, gate: Gate) -> None:
    loading = preloader.preload(1)
    assert preloader.dispose(1)
    assert not preloader.dispose(1)
    gate.open.set()
    assert loading.done.wait(60)
    assert loading.content == b"", "bytes came back after disposal"
    assert all(preloader.preload(n).done.wait(60) for n in (1, 2, 3))
    assert preloader.trim(keep=1) == 2
    assert [preloader.get(n) is None for n in (1, 2, 3)] == [True, True, False]
    assert preloader.snapshot()["totals"]["disposed"] == 3


def test_preloading_through_the_routes(make_app) -> None:
    app = make_app(STORE_PRELOAD_LIMIT="4")
    client, preloader = app.test_client(), app.extensions["store"].preloader
    answer = client.post("/preload", json={"track_ids": [1, 2, 17]})
    assert answer.status_code == 202
    assert [c["track_id"] for c in answer.get_json()["controllers"]] == [1, 2, 17]
    assert all(preloader.get(n).done.wait(60) for n in (1, 2, 17))
    shown = client.get("/controllers").get_json()
    assert (shown["ready"], shown["failed"], shown["limit"]) == (2, 1, 4)
    assert shown["bytes"] == clip_size(1) + clip_size(2)
    assert client.delete("/controllers/1").status_code == 204
    assert client.delete("/controllers/1").status_code == 404
    assert client.delete("/controllers?keep=0").get_json() == {"disposed": 2}
    assert client.get("/controllers").get_json()["total"] == 0


def test_a_full_preloader_is_a_429(make_app, monkeypatch) -> None:
    app = make_app(STORE_PRELOAD_LIMIT="1")
    gate, preloader = Gate(), app.extensions["store"].preloader
    monkeypatch.setattr(preloader, "_load", gate.load)
    try:
        assert app.test_client().post("/preload", json={"track_ids": [1, 2]}).status_code == 429
    finally:
        gate.open.set()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([1], 400),
        ({"track_ids": []}, 400),
        ({"track_ids": ["1"]}, 400),
        ({"track_ids": list(range(1, 12))}, 400),
        ({"track_ids": [1], "delay": 99}, 400),
        ({"track_ids": [1], "delay": "1"}, 400),
        ({"track_ids": [501]}, 404),
    ],
)
def test_a_bad_preload_loads_nothing(make_app, body, status: int) -> None:
    client = make_app().test_client()
    assert client.post("/preload", json=body).status_code == status
    assert client.get("/controllers").get_json()["total"] == 0


def test_media_files_are_the_same_each_time(tmp_path) -> None:
    one, two = Library(tmp_path / "one"), Library(tmp_path / "two")
    assert one.load(5) == two.load(5)
    assert one.load(5) != one.load(6)
    assert len(one.load(5)) == clip_size(5) <= 128 * 1024
    assert one.path(5) == one.path(5 + 64), "tracks share files, so the folder stays small"
    with pytest.raises(MediaError, match="track 17"):
        one.load(17)
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == [
        "clip-005.bin",
        "clip-006.bin",
        "clip-017.bin",
    ]
