"""One small cache interface: Redis when there is a URL, this process's memory otherwise.

Values are what JSON can hold. A cache that fails is a cache that misses: the shop stays open.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import Any, Protocol

import redis
from cachetools import TTLCache

from settings import Settings

log = logging.getLogger("store.cache")


class Cache(Protocol):
    """What the routes use."""

    def get(self, key: str) -> Any | None:
        """The value, or None."""

    def set(self, key: str, value: Any) -> None:
        """Keeps the value for the time the cache was made with."""

    def delete(self, key: str) -> None:
        """Forgets the value, if there is one."""

    def alive(self) -> bool:
        """Whether the cache answers."""


class MemoryCache:
    """A bounded cache in this process; the oldest entries go first."""

    def __init__(self, size: int, ttl: float) -> None:
        self._entries: TTLCache[str, str] = TTLCache(maxsize=size, ttl=ttl)
        self._lock = threading.Lock()  # cachetools' caches are not safe between threads

    def get(self, key: str) -> Any | None:
        with self._lock:
            text = self._entries.get(key)
        return None if text is None else json.loads(text)

    def set(self, key: str, value: Any) -> None:
        # As text, as in Redis: nobody can change what the next reader gets.
        text = json.dumps(value)
        with self._lock:
            self._entries[key] = text

    def delete(self, key: str) -> None:
        with self._lock:
            self._entries.pop(key, None)

    def alive(self) -> bool:
        return True


class RedisCache:
    """The same in Redis, shared by every worker."""

    def __init__(self, url: str, ttl: float, prefix: str = "store:") -> None:
        # Short time-outs: a Redis that hangs must not hold a request.
        self._client = redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)
        self._milliseconds = max(1, int(ttl * 1000))
        self._prefix = prefix

    def get(self, key: str) -> Any | None:
        try:
            text = self._client.get(self._prefix + key)
        except redis.RedisError as error:
            log.warning("cache get failed: %s", error)
            return None
        return None if text is None else json.loads(text)

    def set(self, key: str, value: Any) -> None:
        try:
            self._client.set(self._prefix + key, json.dumps(value), px=self._milliseconds)
        except redis.RedisError as error:
            log.warning("cache set failed: %s", error)

    def delete(self, key: str) -> None:
        try:
            self._client.delete(self._prefix + key)
        except redis.RedisError as error:
            log.warning("cache delete failed: %s", error)

    def alive(self) -> bool:
        try:
            return bool(self._client.ping())
        except redis.RedisError:
            return False


def make_cache(settings: Settings) -> Cache:
    """The cache that the settings ask for."""
    if settings.redis_url:
        return RedisCache(settings.redis_url, settings.cache_ttl)
    return MemoryCache(settings.cache_size, settings.cache_ttl)
