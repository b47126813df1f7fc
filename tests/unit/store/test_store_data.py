"""Seeding, settings, and the cache in this process."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import seed as seeding
from cache import MemoryCache
from database import make_engine
from models import Base
from settings import SettingError, Settings
from sqlalchemy import func, select


def digest(engine) -> str:
    """A fingerprint of every row of every table."""
    found = hashlib.sha256()
    with engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            for row in connection.execute(select(table).order_by(*table.primary_key.columns)):
                found.update(repr(tuple(row)).encode())
    return found.hexdigest()


def counts(engine) -> dict[str, int]:
    with engine.connect() as connection:
        tables = Base.metadata.tables.items()
        return {n: connection.scalar(select(func.count()).select_from(t)) for n, t in tables}


def test_seeding_makes_what_it_says_once_and_the_same_everywhere(tmp_path: Path) -> None:
    engines = [make_engine(f"sqlite:///{tmp_path / name}") for name in ("a.db", "b.db")]
    steps: list[tuple[int, int]] = []
    assert seeding.seed(engines[0], 1_000, lambda done, total: steps.append((done, total)))
    found = counts(engines[0])
    assert len(found) == 11
    assert found["track"] == 1_000
    assert found["album"] == 100
    assert found["artist"] == 25
    assert found["playlist_track"] == 18 * 200
    assert found["invoice_line"] == 3_000
    assert steps[-1] == (sum(found.values()), sum(found.values()))
    assert steps == sorted(steps)
    before = digest(engines[0])
    assert not seeding.seed(engines[0], 2_000), "a filled database was filled again"
    assert digest(engines[0]) == before
    assert seeding.seed(engines[1], 1_000)
    assert digest(engines[1]) == before
    for engine in engines:
        engine.dispose()


def test_seeded_rows_fit_together(seeded: Path) -> None:
    engine = make_engine(f"sqlite:///{seeded}")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        wrong = """select count(*) from invoice i where total_cents !=
            (select sum(price_cents * quantity) from invoice_line where invoice_id = i.id)"""
        assert connection.exec_driver_sql(wrong).scalar_one() == 0
    engine.dispose()


def test_starters_at_once_seed_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    engines = [make_engine(url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(lambda e: seeding.seed(e, 300), engines)) == [False, False, False, True]
    assert counts(engines[0])["track"] == 300
    for engine in engines:
        engine.dispose()


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'store.db'}")

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seeding.seed(engine, 3_000, stop)
    assert set(counts(engine).values()) == {0}
    assert seeding.seed(engine, 3_000)
    engine.dispose()


def test_the_seed_command(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert seeding.main(["--tracks", "100"]) == 0
    assert seeding.main(["--tracks", "100", "--url", f"sqlite:///{tmp_path / 'store.db'}"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith(": filled")
    assert second.endswith(": already filled")


def test_memory_cache_keeps_forgets_and_is_bounded() -> None:
    cache = MemoryCache(size=2, ttl=60)
    assert cache.alive()
    value = {"ids": [1]}
    cache.set("a", value)
    value["ids"].append(2)
    assert cache.get("a") == {"ids": [1]}
    cache.set("b", 2)
    cache.set("c", 3)
    assert [cache.get(k) is None for k in "abc"].count(True) == 1
    cache.delete("c")
    cache.delete("never there")
    assert cache.get("c") is None


def test_memory_cache_entries_expire() -> None:
    cache = MemoryCache(size=2, ttl=0)
    cache.set("a", 1)
    assert cache.get("a") is None


def test_settings_from_the_environment(tmp_path: Path) -> None:
    found = Settings.from_env(
        {
            "STORE_DATA_DIR": str(tmp_path),
            "STORE_PLUGINS": "pricing",
            "UPSTREAM_URL": "http://lyrics.example/",
        }
    )
    assert found.database_url == f"sqlite:///{tmp_path / 'store.db'}"
    assert found.media_dir == tmp_path / "media"
    assert found.redis_url is None
    assert found.plugins == ("pricing",)
    assert found.upstream_url == "http://lyrics.example"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STORE_TRACKS", "many"),
        ("STORE_TRACKS", "5"),
        ("STORE_CACHE_TTL", "nan"),
        ("STORE_SLOW_LIMIT", "inf"),
        ("STORE_BREAKER_RESET", "-1"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///:memory:"),
    ],
)
def test_settings_that_cannot_be_used_are_named(name: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=name):
        Settings.from_env({"STORE_DATA_DIR": str(tmp_path), name: value})
