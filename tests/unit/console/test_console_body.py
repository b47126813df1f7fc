from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from typing import Any

import pytest
from starlette.requests import Request

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
