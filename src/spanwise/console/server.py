"""Starting and stopping the console; what commands and tests use.

Importing this module imports no web server and no database: those belong to the extra ``console``.
"""

from __future__ import annotations

import errno
import re
import secrets
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from spanwise.errors import ConfigurationError, MissingExtraError, SpanwiseError
from spanwise.log import Log
from spanwise.threads import Thread, started_task

if TYPE_CHECKING:
    from spanwise.console.queries.accounting import InstanceAccount
    from spanwise.console.queries.summary import Summary
    from spanwise.console.store import Store

__all__ = ["DEFAULT_DATABASE", "DEFAULT_HOST", "DEFAULT_PORT", "NO_TOKEN", "RunningConsole", "start"]

DEFAULT_HOST: Final = "127.0.0.1"
# The port of OTLP/HTTP (https://opentelemetry.io/docs/specs/otlp/#otlphttp-default-port), so that an
# application without any setting sends here.
DEFAULT_PORT: Final = 4318
DEFAULT_DATABASE: Final = "spanwise.duckdb"
#: Given as ``token``: anyone on this machine may read.
NO_TOKEN: Final = ""

_EXTRA_MODULES: Final = frozenset(("duckdb", "jinja2", "starlette", "uvicorn"))
_START_SECONDS: Final = 15.0
# A sender whose body is half here gets this long to finish before the console ends.
_GRACE_SECONDS: Final = 3
_TOKEN_BYTES: Final = 16
# Each may hold a body of 16 MiB.
_MOST_CONNECTIONS: Final = 128
# What fits into an address and a cookie without quoting, and is too long to guess.
_TOKEN_SHAPE: Final = re.compile(r"[A-Za-z0-9._~-]{16,200}")
#: The same in words, for messages and help.
TOKEN_SHAPE: Final = "16 to 200 letters, digits, '-', '_', '.' or '~'"


class RunningConsole:
    """A console that is serving; also a context manager that stops it at the end.

    Attributes:
        url: the address of the page, with the token when there is one.
        otlp_endpoint: the base address for ``OTEL_EXPORTER_OTLP_ENDPOINT``.
        token: what opens the page; None where none is needed.
    """

    def __init__(self, store: Store, listener: socket.socket, host: str, token: str | None) -> None:
        import uvicorn

        from spanwise.console.app import build_app
        from spanwise.console.protocol import http_protocol

        port = listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.token = token
        self.otlp_endpoint = f"http://{shown}:{port}"
        self.url = self.otlp_endpoint + (f"/?token={token}" if token else "/")
        self._store = store
        self._listener = listener
        self._stopped = False
        app: Any = build_app(store, token=token, host=host, port=port, otlp_endpoint=self.otlp_endpoint)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                # h11 refuses what is not HTTP/1.1 to the letter; the speed of a parser in C is not needed.
                http=http_protocol(self.otlp_endpoint, _MOST_CONNECTIONS),
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
                # Of those that were cut off some end a moment later.
                limit_concurrency=2 * _MOST_CONNECTIONS,
            )
        )
        self._failure: BaseException | None = None
        self._thread: Thread | None = None

    def summary(self) -> Summary:
        """What has arrived so far."""
        from spanwise.console.queries.summary import summarise

        with self._store.reading() as cursor:
            return summarise(cursor)

    def accounting(self) -> list[InstanceAccount]:
        """Spans stored against spans recorded, by service instance."""
        from spanwise.console.queries.accounting import account

        with self._store.reading() as cursor:
            return account(cursor)

    def stop(self) -> None:
        """Answer what is being received, write it, close the file. May be called twice."""
        if self._stopped:
            return
        self._stopped = True
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_GRACE_SECONDS + 5)
        self._listener.close()
        self._store.close()

    def __enter__(self) -> RunningConsole:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        thread = self._thread = started_task(self._serve, "spanwise-console")
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            late = time.monotonic() > deadline
            if self._failure is not None or thread is None or not thread.is_alive() or late:
                self.stop()
                raise SpanwiseError(f"The console did not start: {self._failure or 'no reason given'}")
            # uvicorn tells by a flag, not by an event.
            thread.join(0.01)

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        except BaseException as error:
            self._failure = error
            Log(__name__).warning("The console stopped: %s", error)


def start(
    database: Path, host: str = DEFAULT_HOST, port: int = 0, token: str | None = None
) -> RunningConsole:
    """Start the console in a background thread; it serves when this returns.

    Args:
        database: the DuckDB file; created when it does not exist.
        host: where to listen. Anything but this machine alone needs a token.
        port: 0 for a free one.
        token: what opens page and API; None for a random one, ``NO_TOKEN`` for none.

    Raises:
        MissingExtraError: the extra ``console`` is not installed.
        ConfigurationError: address, token or file cannot be used.
    """
    try:
        from spanwise.console.guard import is_loopback
        from spanwise.console.store import Store

        __import__("uvicorn")
        __import__("jinja2")
        __import__("duckdb")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in _EXTRA_MODULES:
            raise MissingExtraError("console", "The console") from None
        raise
    if token == NO_TOKEN and not is_loopback(host):
        raise ConfigurationError(
            "Without a token the console listens on this machine only",
            where=f"host {host}",
            fix="Leave out --no-token, or use --host 127.0.0.1.",
        )
    if token is None:
        token = secrets.token_urlsafe(_TOKEN_BYTES)
    elif token and not _TOKEN_SHAPE.fullmatch(token):
        raise ConfigurationError(
            "The token cannot be used",
            where="--token",
            fix=f"Use {TOKEN_SHAPE}, or leave it out for a random one.",
        )
    listener = _listen(host, port)
    try:
        store = Store(database)
    except BaseException:
        listener.close()
        raise
    console = RunningConsole(store, listener, host, token or None)
    console._start()
    return console


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        # create_server sets SO_REUSEADDR: a console that was just stopped can be started again at once.
        return socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"Port {port} is in use",
                where=f"{host}:{port}",
                fix="Stop what listens there (another console or Collector) or name another with --port.",
            ) from None
        raise ConfigurationError(
            f"Cannot listen: {error.strerror or error}",
            where=f"{host}:{port}",
            fix="Name another with --host and --port.",
        ) from None
