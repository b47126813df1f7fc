"""What the store can be told, read once from the environment."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class SettingError(ValueError):
    """A variable holds something the store cannot use. The message names it."""


@dataclass(frozen=True)
class Settings:
    """One value of each setting. Times are seconds, sizes are counts unless named otherwise."""

    database_url: str
    redis_url: str | None
    upstream_url: str | None  # None: the store's own /upstream routes
    media_dir: Path
    tracks: int
    cache_size: int
    cache_ttl: float
    plugins: tuple[str, ...]
    plugin_load_delay: float  # makes loading the pricing plugin slow
    recommendation_delay: float  # makes each recommendation slow
    upstream_timeout: float
    breaker_failures: int
    breaker_reset: float
    preload_workers: int
    preload_limit: int
    memory_limit: float  # MB of this process, above which preloaded media is given up
    slow_limit: float
    log_level: str

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Reads the environment (or `env`). Raises SettingError on a value of the wrong kind."""
        env = os.environ if env is None else env
        data = Path(env.get("STORE_DATA_DIR") or _data_dir())
        url = env.get("DATABASE_URL") or f"sqlite:///{data / 'store.db'}"
        if url.startswith("sqlite") and (":memory:" in url or url.partition("://")[2] in ("", "/")):
            # Every thread of a server would see its own, empty database.
            raise SettingError("DATABASE_URL: SQLite in memory is one database a thread; name a file")
        return cls(
            database_url=url,
            redis_url=env.get("REDIS_URL") or None,
            upstream_url=(env.get("UPSTREAM_URL") or "").rstrip("/") or None,
            media_dir=Path(env.get("MEDIA_DIR") or data / "media"),
            tracks=_number(env, "STORE_TRACKS", 10_000, int, least=100),
            cache_size=_number(env, "STORE_CACHE_SIZE", 2_000, int, least=1),
            cache_ttl=_number(env, "STORE_CACHE_TTL", 60.0, float),
            plugins=tuple(n for n in env.get("STORE_PLUGINS", "pricing,recommendations").split(",") if n),
            plugin_load_delay=_number(env, "STORE_PLUGIN_LOAD_DELAY", 0.0, float),
            recommendation_delay=_number(env, "STORE_RECOMMENDATION_DELAY", 0.0, float),
            upstream_timeout=_number(env, "STORE_UPSTREAM_TIMEOUT", 2.0, float),
            breaker_failures=_number(env, "STORE_BREAKER_FAILURES", 3, int, least=1),
            breaker_reset=_number(env, "STORE_BREAKER_RESET", 5.0, float),
            preload_workers=_number(env, "STORE_PRELOAD_WORKERS", 4, int, least=1),
            preload_limit=_number(env, "STORE_PRELOAD_LIMIT", 20, int, least=1),
            memory_limit=_number(env, "STORE_MEMORY_LIMIT", 500.0, float, least=1),
            slow_limit=_number(env, "STORE_SLOW_LIMIT", 10.0, float),
            log_level=env.get("STORE_LOG_LEVEL", "INFO").upper(),
        )


def _data_dir() -> Path:
    """A folder of this user's below the temporary one, readable by nobody else."""
    path = Path(tempfile.gettempdir()) / f"media-store-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise SettingError(f"{path} belongs to someone else; set STORE_DATA_DIR")
    return path


def _number(env: Mapping[str, str], name: str, default, kind, least=0):
    text = env.get(name)
    if not text:
        return default
    try:
        value = kind(text)
    except ValueError:
        raise SettingError(f"{name}={text!r}: not a number") from None
    if not least <= value < float("inf"):
        raise SettingError(f"{name}={text}: must be at least {least} and finite")
    return value
