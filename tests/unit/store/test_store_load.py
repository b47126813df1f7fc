"""The load generator: what it plans, what it sends, what it says."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import load
import pytest
from hypothesis import given
from hypothesis import strategies as st
from load_plan import CUSTOMERS, MIXES, TRACKS, plan
from settings import Settings

SMALL = 500


@given(st.integers(0, 2**32), st.sampled_from(sorted(MIXES)), st.integers(0, 60), st.integers(0, 60))
def test_the_same_seed_gives_the_same_plan_and_a_longer_one_begins_with_it(seed, mix, one, two) -> None:
    short, long = sorted((one, two))
    assert plan(seed, short, mix) == plan(seed, long, mix)[:short]
    assert len(plan(seed, long, mix)) == long


def test_another_seed_gives_another_plan() -> None:
    assert plan(1, 50) != plan(2, 50)


def test_the_plan_is_the_same_on_every_python() -> None:
    assert [r.path for r in plan(1, 3)] == ["/tracks?genre=Ambient&page=4", "/tracks/4955", "/albums/652"]


def test_every_kind_of_every_mix_is_planned() -> None:
    for mix, kinds in MIXES.items():
        share = sum(kinds.values())
        counts = Counter(r.route for r in plan(3, 3_000, mix))
        assert len(counts) > 3, mix
        if "home" in kinds:
            expected = 3_000 * kinds["home"] / share
            assert abs(counts["/"] - expected) < 5 * expected**0.5 + 5


def test_the_plan_knows_the_store_as_seeded(make_app) -> None:
    import seed

    assert Settings.from_env({}).tracks == TRACKS
    assert seed.CUSTOMERS == CUSTOMERS
    for mix in MIXES:
        rules = make_app().url_map.bind("127.0.0.1")
        for request in plan(5, 400, mix, SMALL):
            rule, _ = rules.match(request.path.partition("?")[0], request.method, return_rule=True)
            assert rule.rule == request.route


def test_requests_are_slow_where_planned(make_app, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    client = make_app().test_client()
    slow = [r for mix in ("slow", "stream") for r in plan(2, 150, mix, SMALL) if r.slow]
    assert {r.route for r in slow} == {
        "/slow",
        "/stream/<int:track_id>",
        "/recommendations/<int:customer_id>",
    }
    for request in slow:
        slept.clear()
        assert client.get(request.path).get_data() is not None
        assert sum(slept) >= request.slow > 0


def test_a_served_plan_is_answered_as_planned(make_app, serve, tmp_path: Path, capsys) -> None:
    url, report_file = serve(make_app()), tmp_path / "report.json"
    options = ["--rate", "150", "--requests", "150", "--seed", "4", "--mix", "errors", "--tracks", str(SMALL)]
    code = load.main(["--url", url, *options, "--report", str(report_file)])
    report = json.loads(report_file.read_text())
    requests = plan(4, 150, "errors", SMALL)
    assert report["examples"] == []
    assert code == 0
    assert report["sent"] == 150
    assert report["by_route"] == Counter(r.name for r in requests)
    assert report["failing"] == report["planned_failing"] == sum(r.fails for r in requests) > 20
    assert report["by_status"] == Counter(str(r.status) for r in requests)
    assert 0 < report["latency"]["p50"] <= report["latency"]["p95"] <= report["latency"]["p100"]
    printed = capsys.readouterr().out
    assert "150 of 150 answered" in printed
    assert f"sent 150 in {report['seconds']} s, {report['failing']} failing" in printed


def test_lyrics_of_the_flaky_mix_open_the_breaker(make_app, serve) -> None:
    app = make_app(STORE_BREAKER_RESET="60")
    tally = load.Tally()
    load.drive(plan(1, 60, "flaky", SMALL), serve(app), 200, tally, workers=1)
    assert app.extensions["store"].lyrics.state == "open"
    assert tally.report()["examples"] == []
    assert tally.report()["by_status"]["503"] > 10


def test_no_answer_and_other_answers_are_named(make_app, serve) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert load.main(["--url", address, "--requests", "3", "--rate", "100", "--quiet"]) == 1
        tally = load.Tally()
        load.drive(plan(1, 3), address, 100, tally)
    assert tally.report()["unanswered"] == 3
    assert "ConnectionRefusedError" in tally.report()["examples"][0]
    # The plan for a larger store asks for tracks that this one lacks.
    tally = load.Tally()
    load.drive(plan(1, 40, "browse"), serve(make_app()), 400, tally)
    assert tally.report()["unexpected"] > 0
    assert "404, not 200" in tally.report()["examples"][0]


def test_no_trace_context_is_sent() -> None:
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                got.append(connection.recv(65_536))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert load.send(url, plan(1, 1)[0], 5) == 200
        thread.join(60)
    headers = got[0].lower()
    assert b"user-agent: store-load" in headers
    assert b"traceparent" not in headers
    assert b"baggage" not in headers


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:80", True),
        ("http://localhost:1", True),
        ("http://store:8000", False),
        ("http://10.0.0.1", False),
        ("http://127.0.0.1.example.org", False),
        ("http://localhost@example.org", False),
    ],
)
def test_only_this_machine_is_loaded_unless_allowed(url: str, own: bool, capsys) -> None:
    assert load.is_loopback(url) is own
    if own:
        return
    with pytest.raises(SystemExit):
        load.main(["--url", url, "--requests", "0"])
    assert "--allow-remote" in capsys.readouterr().err
    assert load.main(["--url", url, "--requests", "0", "--quiet", "--allow-remote"]) == 0
