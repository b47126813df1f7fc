"""Sends JSON by HTTP POST. Addresses may be secrets: no error has one in its text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from spanwise.alerts.outbox import TryAgain
from spanwise.rules.alerting import Handler

__all__ = ["address", "post"]

# Seconds for connecting, and for each answer's part. Alertmanager gives up after as many.
_TIMEOUT: Final = 10.0
# Of an answer nobody reads; read is what keeps a server from seeing a broken connection.
_ANSWER: Final = 4096
# A secret is a line. A whole disk by mistake is not read.
_LONGEST_SECRET: Final = 4096
# "Try again" by its meaning: time-out, too early, too many requests; and whatever is the server's fault.
_AGAIN: Final = (408, 425, 429)


def address(handler: Handler) -> Callable[[], str]:
    """What gives a handler's address; from its file at each sending, since secrets are renewed."""
    if not handler.file:
        return lambda: handler.address

    def read() -> str:
        try:
            with Path(handler.file).open(encoding="utf-8") as file:
                return file.read(_LONGEST_SECRET).strip()
        except (OSError, ValueError) as error:
            raise TryAgain(
                f"its address cannot be read from {handler.file}: {type(error).__name__}"
            ) from None

    return read


def post(url: str, body: Any) -> None:
    """Posts a body as JSON. Redirects are not followed: they would carry what is told elsewhere.

    Args:
        url: with the scheme http or https.
        body: what JSON can hold.

    Raises:
        TryAgain: nobody answered, or the answer was that it may work later.
        ValueError: the address is none, or the answer was another failure.
    """
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    try:
        parts = urlsplit(url)
        host, port, scheme = parts.hostname, parts.port, parts.scheme
    except ValueError:
        host, port, scheme = None, None, ""
    if not host or scheme not in ("http", "https"):
        raise ValueError("its address is no URL of http or https")
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    sent = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    connect: type[HTTPConnection] = HTTPSConnection if scheme == "https" else HTTPConnection
    connection = connect(host, port, timeout=_TIMEOUT)
    try:
        connection.request("POST", path, sent, {"Content-Type": "application/json; charset=utf-8"})
        answer = connection.getresponse()
        status = answer.status
        answer.read(_ANSWER)
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPException) and type(error).__name__ == "InvalidURL":
            raise ValueError("its address is no URL that can be called") from None
        raise TryAgain(f"no answer ({type(error).__name__})") from None
    finally:
        connection.close()
    if status in _AGAIN or status >= 500:
        raise TryAgain(f"the answer was {status}")
    if not 200 <= status < 300:
        raise ValueError(f"the answer was {status}")
