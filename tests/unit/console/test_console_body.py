from __future__ import annotations

import asyncio
import gzip
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.requests import Request

from spanwise.console import body
from spanwise.console.body import BodyError, read_body

LIMIT = 100_000


def read(packed: bytes) -> bytes:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": packed, "more_body": False}

    headers = [(b"content-encoding", b"gzip")]
    return asyncio.run(read_body(Request({"type": "http", "headers": headers}, receive), LIMIT))


def test_a_gzip_bomb_costs_no_more_memory_than_the_cap() -> None:
    bomb = gzip.compress(bytes(64 * 1024 * 1024), 1)
    tracemalloc.start()
    try:
        with pytest.raises(BodyError) as refused:
            read(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.value.status == 413
    # The bomb itself is a third of a megabyte and may be copied; unpacked it would be 64.
    assert peak < 4 * 1024 * 1024


def test_a_body_of_exactly_the_cap_is_read() -> None:
    assert read(gzip.compress(bytes(LIMIT))) == bytes(LIMIT)
    with pytest.raises(BodyError):
        read(gzip.compress(bytes(LIMIT + 1)))


def test_members_one_after_the_other_are_one_body_and_their_number_is_bounded() -> None:
    assert read(gzip.compress(b"a") + gzip.compress(b"") + gzip.compress(b"b")) == b"ab"
    with pytest.raises(BodyError, match="more than 1000 members") as refused:
        read(gzip.compress(b"") * 1_001)
    assert refused.value.status == 400


def test_what_arrives_is_bounded_too_though_it_unpacks_to_nothing() -> None:
    with pytest.raises(BodyError) as refused:
        read(gzip.compress(b"") * (LIMIT // 20 + 1))
    assert refused.value.status == 413


@pytest.mark.parametrize(
    "wrong", [gzip.compress(b"a" * 100, mtime=0)[:-1], b"no gzip", gzip.compress(b"a", mtime=0) + b"x"]
)
def test_a_broken_stream_is_the_senders_fault(wrong: bytes) -> None:
    with pytest.raises(BodyError, match="gzip stream") as refused:
        read(wrong)
    assert refused.value.status == 400


def test_others_are_answered_while_a_body_is_unpacked(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, unpacked = threading.Event(), threading.Event(), body._unpacked

    def slow(packed: bytearray, limit: int) -> bytes:
        begun.set()
        assert go_on.wait(60)
        return unpacked(packed, limit)

    monkeypatch.setattr(body, "_unpacked", slow)
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(client.send, gzip.compress(b""), content_encoding="gzip")
        try:
            assert begun.wait(60)
            assert client.get("/healthz").status == 200
        finally:
            go_on.set()
        assert sent.result().status == 200


@pytest.mark.parametrize("encoding", ["deflate", "zstd", "br", "gzip, gzip"])
def test_encodings_that_nobody_asked_for_are_refused_unread(client: Any, encoding: str) -> None:
    assert client.send(b"x" * 1000, content_encoding=encoding).status == 415
