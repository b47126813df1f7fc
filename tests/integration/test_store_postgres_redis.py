"""The example store on a real PostgreSQL and a real Redis."""

# ruff: noqa: E402  (the store is imported by path)

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parents[1] / "examples" / "store"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import redis
from cache import MemoryCache, RedisCache
from database import make_engine
from load import Tally, drive
from load_plan import plan
from seed import seed
from servers import free_port, postgres, redis_server, store_app
from sqlalchemy import inspect, text

pytestmark = pytest.mark.real

TRACKS = 500


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


def scalar(url: str, statement: str) -> Any:
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            return connection.execute(text(statement)).scalar_one()
    finally:
        engine.dispose()


def test_processes_that_start_together_seed_postgres_once(database: str) -> None:
    engines = [make_engine(database) for _ in range(4)]
    try:
        with ThreadPoolExecutor(4) as pool:
            seeded = list(pool.map(lambda engine: seed(engine, TRACKS), engines))
        assert sorted(seeded) == [False, False, False, True]
        assert len(inspect(engines[0]).get_table_names()) == 11
        assert scalar(database, "select count(*) from track") == TRACKS
    finally:
        for engine in engines:
            engine.dispose()


def test_the_store_serves_its_plan_from_postgres_and_redis(
    database: str, redis_url: str, tmp_path: Path
) -> None:
    requests = plan(7, 120, tracks=TRACKS)
    env = {"DATABASE_URL": database, "REDIS_URL": redis_url, "STORE_TRACKS": str(TRACKS)}
    tally = Tally()
    with store_app(tmp_path, env) as (url, _):
        before = scalar(database, "select count(*) from invoice")
        drive(requests, url, rate=100, tally=tally)
        with urlopen(f"{url}/healthz", timeout=5) as response:
            assert json.load(response) == {"database": "up", "cache": "up", "breaker": "closed"}
    report = tally.report()
    assert report["examples"] == []
    assert report["sent"] == len(requests)
    sold = sum(request.route == "/checkout" for request in requests)
    assert sold > 0
    assert scalar(database, "select count(*) from invoice") == before + sold
    assert not list(tmp_path.glob("*.db")), "the store fell back to SQLite"
    keys = redis.Redis.from_url(redis_url).keys("store:track:*")
    assert keys, "nothing was cached in Redis"


def test_slow_and_failing_statements_are_postgres_own(database: str, tmp_path: Path) -> None:
    env = {"DATABASE_URL": database, "STORE_TRACKS": str(TRACKS)}
    with store_app(tmp_path, env) as (url, _):
        with urlopen(f"{url}/slow?where=db&seconds=0.05", timeout=5) as response:
            assert json.load(response) == {"slept": 0.05, "where": "db"}
        tally = Tally()
        drive([r for r in plan(1, 200, "errors", TRACKS) if "kind=db" in r.path][:1], url, 10, tally)
    assert tally.report()["by_status"] == {"500": 1}
    assert "UndefinedTable" in (tmp_path / "store.log").read_text()


def test_both_caches_answer_alike(redis_url: str) -> None:
    for cache in (MemoryCache(10, 60), RedisCache(redis_url, 60, prefix="alike:")):
        assert cache.alive()
        assert cache.get("k") is None
        cache.set("k", {"ids": [1, 2], "name": "naïve"})
        assert cache.get("k") == {"ids": [1, 2], "name": "naïve"}
        cache.delete("k")
        assert cache.get("k") is None


def test_entries_in_redis_expire(redis_url: str) -> None:
    RedisCache(redis_url, ttl=30, prefix="ttl:").set("k", 1)
    assert 0 < redis.Redis.from_url(redis_url).pttl("ttl:k") <= 30_000


def test_a_redis_that_is_away_is_a_miss(caplog: pytest.LogCaptureFixture) -> None:
    cache = RedisCache(f"redis://127.0.0.1:{free_port()}/0", 60)
    assert not cache.alive()
    cache.set("k", 1)
    assert cache.get("k") is None
    cache.delete("k")
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
