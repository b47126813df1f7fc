from __future__ import annotations

import json
from typing import Any

import pytest

from spanwise.console.guard import is_loopback

TOKEN = "unit-test-token-0123456789"
PATHS = ["/", "/api/summary", "/api/traces", "/healthz", "/static/style.css", "/v1/traces", "/nowhere"]
OTLP = {"content-type": "application/x-protobuf"}


@pytest.fixture
def client(shared_client: Any) -> Any:
    return shared_client


def ask(client: Any, path: str, **headers: str) -> Any:
    return client.ask("POST" if path.startswith("/v1/") else "GET", path, b"", OTLP | headers)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example:4318",
        "localhost@evil.example",
        "evil.example#localhost",
        "[::1",
        "10.0.0.1",
        "localhost:port",
    ],
)
def test_a_foreign_host_is_refused_everywhere(client: Any, path: str, host: str) -> None:
    answer = ask(client, path, host=host, authorization=f"Bearer {TOKEN}")
    assert answer.status == 403


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://[", ""])
def test_a_foreign_origin_is_refused_everywhere(client: Any, path: str, origin: str) -> None:
    assert ask(client, path, origin=origin, authorization=f"Bearer {TOKEN}").status == 403


def test_the_own_origin_and_every_name_of_this_machine_are_fine(client: Any) -> None:
    for host in (f"localhost:{client.port}", f"127.0.0.1:{client.port}", "[::1]:9", "LOCALHOST"):
        answer = ask(
            client, "/api/summary", host=host, origin=f"http://{host}", authorization=f"Bearer {TOKEN}"
        )
        assert answer.status == 200, host


@pytest.mark.parametrize(
    "path", ["/", "/traces/" + "1" * 32, "/api/summary", "/api/traces", "/api/accounting", "/api/plugins"]
)
@pytest.mark.parametrize(
    "given", ["", "?token=", "?token=wrong", f"?token={TOKEN}&token={TOKEN}", "?token=%ff"]
)
def test_pages_and_api_need_the_token(client: Any, path: str, given: str) -> None:
    answer = client.ask("GET", path + given)
    assert answer.status == 401
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("header", ["Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"])
def test_a_wrong_bearer_token_is_refused(client: Any, header: str) -> None:
    assert ask(client, "/api/summary", authorization=header).status == 401


def test_the_token_becomes_a_cookie_that_scripts_and_other_sites_cannot_use(client: Any) -> None:
    answer = client.ask("GET", f"/?token={TOKEN}")
    cookie = answer.headers["set-cookie"]
    assert answer.status == 200
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert str(client.port) in cookie.partition("=")[0]
    pair = cookie.partition(";")[0]
    assert ask(client, "/api/summary", cookie=f'odd="a b; {pair}').status == 200
    assert ask(client, "/api/summary", cookie=pair + "x").status == 401


def test_telemetry_from_this_machine_static_files_and_health_need_no_token(client: Any) -> None:
    for path in ("/v1/traces", "/static/style.css", "/healthz"):
        assert ask(client, path).status == 200, path


@pytest.mark.parametrize(
    "path", ["/static/../store.py", "/static/%2e%2e/store.py", "/static/..%2fpages/base.html"]
)
def test_nothing_beside_the_static_files_is_served(client: Any, path: str) -> None:
    assert client.get(path).status == 404


@pytest.mark.parametrize("path", [*PATHS, "/?token=wrong"])
def test_every_answer_has_the_security_headers(client: Any, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    # A page that opened the console in a window has no hold on it, nor does one that embeds its answers.
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


def test_answers_are_not_sent_again_while_nothing_changes(client: Any, make: Any) -> None:
    first = client.get("/api/traces?limit=500")
    tag = {"if-none-match": first.headers["etag"]}
    again = client.get("/api/traces?limit=500", **tag)
    assert (again.status, again.body) == (304, b"")
    client.send(make.request(make.span(trace_id=7)).SerializeToString())
    changed = client.get("/api/traces?limit=500", **tag)
    assert changed.status == 200
    assert len(changed.json()["traces"]) == len(first.json()["traces"]) + 1
    # Another trace arrives: the store has changed, this answer has not.
    one = client.get(f"/api/traces/{7:032x}")
    client.send(make.request(make.span(trace_id=8)).SerializeToString())
    same = client.get(f"/api/traces/{7:032x}", **{"if-none-match": one.headers["etag"]})
    assert same.status == 304
    assert same.headers["etag"] != one.headers["etag"]


@pytest.mark.parametrize("path", ["/nope/v1/traces", "/", "/v1/nope", "/v1", "/v1/traces/v1/traces", "/x/"])
def test_a_post_to_an_unknown_path_is_told_the_paths(client: Any, path: str) -> None:
    answer = client.ask("POST", path, b"", OTLP)
    assert answer.status == 404
    assert "taken at /v1/traces, /v1/metrics, /v1/logs" in answer.json()["error"]
    assert path in answer.json()["error"]
    assert client.ask("POST", path, b"", OTLP | {"host": "evil.example"}).status == 403


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/summary", 401),
        ("POST", "/traces/1", 401),
        ("GET", "/nope/v1/traces", 401),
        ("POST", "/healthz", 405),
        ("POST", "/v1/traces/", 307),
        ("POST", "/v1/traces", 200),
    ],
)
def test_known_paths_are_not_called_unknown(client: Any, method: str, path: str, status: int) -> None:
    assert client.ask(method, path, b"", OTLP).status == status


def test_the_api_filters_by_rating_and_refuses_words_that_are_none(client: Any, make: Any) -> None:
    span = make.span(trace_id=40)
    span.attributes.add(key="spanwise.rating").value.string_value = "poor"
    client.send(make.request(span).SerializeToString())

    def found(rating: str) -> set[str]:
        return {trace["trace_id"] for trace in client.get(f"/api/traces?rating={rating}").json()["traces"]}

    assert f"{40:032x}" in found("poor")
    assert f"{40:032x}" not in found("critical")
    answer = client.get("/api/traces?rating=bad")
    assert (answer.status, "acceptable" in answer.json()["error"]) == (400, True)


def test_list_and_trace_agree_on_the_colours(client: Any, make: Any) -> None:
    for number, service in enumerate(("red", "green"), 1):
        client.send(make.request(make.span(number, 50), service=service).SerializeToString())
    listed = client.get("/api/traces").json()["colours"]
    shown = client.get(f"/api/traces/{50:032x}").json()["colours"]
    assert shown == {"green": listed["green"], "red": listed["red"]}
    assert shown["green"] != shown["red"]


@pytest.mark.parametrize("query", ["limit=many", "min_duration_ms=nan", "min_duration_ms=-1", "offset=inf"])
def test_a_query_that_cannot_be_read_is_told(client: Any, query: str) -> None:
    answer = client.get(f"/api/traces?{query}")
    assert answer.status == 400
    assert "number" in answer.json()["error"]


def test_huge_numbers_in_a_query_are_limited(client: Any) -> None:
    assert client.get("/api/traces?limit=1e300&offset=1e300&min_duration_ms=1e300").json()["traces"] == []


def test_a_trace_that_is_not_there_is_404_for_pages_and_api(client: Any) -> None:
    name = "<img src=x onerror=alert(1)>"
    assert client.get("/api/traces/nothing").status == 404
    page = client.get("/traces/%3Cimg%20src=x%20onerror=alert(1)%3E")
    assert page.status == 404
    assert name.encode() not in page.body
    assert b"&lt;img" in page.body


def test_hostile_names_are_escaped_in_the_page(client: Any, make: Any) -> None:
    evil = "<img src=x onerror=alert(1)>\"'{{7*7}}"
    client.send(make.request(make.span(name=evil, trace_id=20), service=evil).SerializeToString())
    page = client.get(f"/traces/{20:032x}")
    assert page.status == 200
    assert b"<img src=x" not in page.body
    assert b"{{7*7}}" in page.body
    assert client.get(f"/api/traces/{20:032x}").json()["name"] == evil


def test_the_api_is_json_without_nan(client: Any, make: Any) -> None:
    span = make.span(trace_id=30)
    attribute = span.attributes.add(key="ratio")
    attribute.value.double_value = float("nan")
    client.send(make.request(span).SerializeToString())

    def refuse(name: str) -> None:
        raise AssertionError(name)

    body = client.get(f"/api/traces/{30:032x}").body
    assert json.loads(body, parse_constant=refuse)["spans"][0]["attributes"] == {"ratio": "NaN"}


def test_loopback_names() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.1", "example.org", "localhost.evil", "")))
