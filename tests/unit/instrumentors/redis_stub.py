"""Redis connections without a server: what is to be read is given beforehand."""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar

import redis
import redis.asyncio


class Stub(redis.Connection):
    """Reads what `answers` has, and OK when that is empty; an exception is raised."""

    answers: ClassVar[deque[Any]] = deque()

    def connect(self) -> None:
        pass

    def disconnect(self, *_: Any) -> None:
        pass

    def can_read(self, timeout: float = 0) -> bool:
        return False

    def should_reconnect(self) -> bool:
        return False

    def send_packed_command(self, *_: Any, **__: Any) -> None:
        pass

    def send_command(self, *args: Any, **_: Any) -> None:
        self.pack_command(*args)

    def read_response(self, *_: Any, **__: Any) -> Any:
        return _next(self.answers)


class AsyncStub(redis.asyncio.Connection):
    """The same with asyncio."""

    async def connect(self) -> None:
        pass

    async def disconnect(self, *_: Any, **__: Any) -> None:
        pass

    async def can_read(self, *_: Any, **__: Any) -> bool:
        return False

    can_read_destructive = can_read

    def should_reconnect(self) -> bool:
        return False

    async def send_packed_command(self, *_: Any, **__: Any) -> None:
        pass

    async def send_command(self, *args: Any, **_: Any) -> None:
        self.pack_command(*args)

    async def read_response(self, *_: Any, **__: Any) -> Any:
        return _next(Stub.answers)


def _next(answers: deque[Any]) -> Any:
    answer = answers.popleft() if answers else b"OK"
    if isinstance(answer, BaseException):
        raise answer
    return answer


def client(**options: Any) -> redis.Redis:
    """A client whose connections are stubs."""
    single = options.pop("single_connection_client", False)
    pool = redis.ConnectionPool(connection_class=Stub, **{"host": "10.0.0.1", **options})
    return redis.Redis(connection_pool=pool, single_connection_client=single)


def client_async(**options: Any) -> redis.asyncio.Redis:
    """The same with asyncio."""
    pool = redis.asyncio.ConnectionPool(connection_class=AsyncStub, **{"host": "10.0.0.1", **options})
    return redis.asyncio.Redis(connection_pool=pool)
