"""Asks a Prometheus. Everything that can go wrong is an error that says what to do."""

from __future__ import annotations

import http.client
import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Final, NamedTuple

from spanwise.errors import SpanwiseError
from spanwise.threads import started_task

__all__ = ["Line", "Server", "check_headers"]

# An answer of 30 rules over a day is some 2 MB. What is larger is no answer to a gate's question.
_LARGEST: Final = 64_000_000
_PIECE: Final = 65_536

Headers = tuple[tuple[str, str], ...]


class Line(NamedTuple):
    """One series of an answer.

    Attributes:
        labels: the series' labels.
        points: (seconds since 1970, value), oldest first.
    """

    labels: dict[str, str]
    points: list[tuple[float, float]]


def check_headers(headers: Headers, where: str) -> Headers:
    """The headers, if a request can carry them. An error does not show a value: it may be secret.

    Args:
        headers: names and values.
        where: what they were read from, for the error.

    Raises:
        SpanwiseError: one cannot be sent.
    """
    for name, value in headers:
        plain = value.isprintable() and value.isascii()
        if not plain or not name.replace("-", "").isalnum() or not name.isascii():
            raise SpanwiseError(
                f"the header {name[:40]!r} cannot be sent",
                where=where,
                fix="A name is letters, digits and dashes; a value is printable ASCII on one line",
            )
    return headers


class Server:
    """A Prometheus, or what answers as one (Thanos, Mimir, VictoriaMetrics).

    Args:
        address: its base URL, with a path prefix where it has one.
        headers: sent with each request; never shown.
        timeout: seconds for one answer at most.

    Attributes:
        warnings: what it said about its own answers.

    Raises:
        SpanwiseError: the address is none, or holds a password.
    """

    def __init__(self, address: str, headers: Headers = (), timeout: float = 10.0) -> None:
        try:
            parts = urllib.parse.urlsplit(address)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or not address.isascii() or not address.isprintable() or " " in address:
            raise SpanwiseError(
                "this is no address of a Prometheus",
                where=address.rpartition("@")[2][:200],
                fix="Give it as http://HOST:9090",
            )
        if "@" in parts.netloc:
            raise SpanwiseError(
                "a user name or password in an address is seen by everyone on the machine",
                where=parts.netloc.rpartition("@")[2],
                fix="Send an authorization header instead: --headers FILE",
            )
        self.warnings: list[str] = []
        self._base = urllib.parse.urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
        self._headers = dict(headers)
        self._timeout = timeout
        # No redirects: the headers' secrets would go wherever one points. No file: or ftp: either.
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
        ):
            self._opener.add_handler(handler)

    def now(self) -> float:
        """The time of its clock, in seconds since 1970: its samples are dated by it, not by ours."""
        moment = self._ask("query", query="time()")
        try:
            return float(moment["result"][1])
        except (TypeError, KeyError, IndexError, ValueError):
            raise self._no_prometheus("its answer to time() is no number") from None

    def at(self, expression: str, moment: float) -> list[Line]:
        """The values of an expression at a moment, each a line of one point."""
        found = self._ask("query", query=expression, time=_seconds(moment))
        return self._lines(found, "vector", "value")

    def over(self, expression: str, start: float, end: float, step: float) -> list[Line]:
        """The values of an expression from start to end."""
        found = self._ask(
            "query_range", query=expression, start=_seconds(start), end=_seconds(end), step=_seconds(step)
        )
        return self._lines(found, "matrix", "values")

    def _lines(self, found: dict[str, Any], kind: str, key: str) -> list[Line]:
        try:
            if found["resultType"] != kind:
                raise ValueError
            return [
                _line(each["metric"], each[key] if kind == "matrix" else [each[key]])
                for each in found["result"]
            ]
        except (AttributeError, TypeError, KeyError, ValueError):
            raise self._no_prometheus(f"its answer is no {kind} of numbers") from None

    def _ask(self, api: str, **form: str) -> dict[str, Any]:
        body = urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(f"{self._base}/api/v1/{api}", body, self._headers)
        status, text = self._fetch(request)
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        said = str(answer.get("error", "")) if isinstance(answer, dict) else ""
        if status in (401, 403):
            raise SpanwiseError(
                f"Prometheus lets nobody ask without leave: it answered {status}",
                where=self._base,
                fix="Send what it wants: --headers FILE with a line such as Authorization: Bearer TOKEN",
            )
        if status in (301, 302, 303, 307, 308):
            raise SpanwiseError(
                f"the address leads elsewhere: it answered {status}",
                where=self._base,
                fix="Give the address that it leads to",
            )
        if said and status >= 400:
            raise SpanwiseError(f"Prometheus cannot answer ({status}): {_shown(said)}", where=self._base)
        if status != 200:
            raise self._no_prometheus(f"it answered {status}")
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict) or answer.get("status") != "success":
            raise self._no_prometheus("its answer is not in Prometheus's form")
        for warning in answer.get("warnings") or ():
            if _shown(warning) not in self.warnings:
                self.warnings.append(_shown(warning))
        return data

    def _fetch(self, request: urllib.request.Request) -> tuple[int, bytes]:
        done: list[tuple[int, bytes] | Exception] = []

        def exchange() -> None:
            try:
                done.append(self._exchange(request))
            except Exception as error:
                done.append(error)

        # A socket's time-out is for each piece, and looking a name up has none: only from outside can all of
        # it be bounded. What is given up is left to end by itself; it keeps no program from ending.
        asking = started_task(exchange, "spanwise-gate")
        if asking is None:
            exchange()
        else:
            asking.join(self._timeout)
        outcome = done[0] if done else TimeoutError(f"no whole answer within {self._timeout:g} s")
        if isinstance(outcome, tuple):
            return outcome
        if not isinstance(outcome, (OSError, http.client.HTTPException, ValueError)):
            raise outcome
        reason = getattr(outcome, "reason", None) or outcome
        raise SpanwiseError(
            f"no Prometheus answers: {_shown(reason) or type(reason).__name__}",
            where=self._base,
            fix="Is it running, and is the address right?",
        )

    def _exchange(self, request: urllib.request.Request) -> tuple[int, bytes]:
        deadline = time.monotonic() + self._timeout
        try:
            answer = self._opener.open(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            status = int(answer.status or 0)
            pieces, size = [], 0
            # Nobody may wait any more: one that drips would go on for ever.
            while piece := answer.read1(_PIECE):
                pieces.append(piece)
                size += len(piece)
                if size > _LARGEST or time.monotonic() > deadline:
                    raise TimeoutError("the answer does not end")
            return status, b"".join(pieces)

    def _no_prometheus(self, why: str) -> SpanwiseError:
        return SpanwiseError(
            f"this is no Prometheus: {why}",
            where=self._base,
            fix="Give its base address, with its path prefix",
        )


def _line(labels: dict[str, Any], values: list[Any]) -> Line:
    # NaN and +Inf as Go writes them are what float() reads.
    return Line(
        {str(key): str(value) for key, value in labels.items()},
        [(float(at), float(value)) for at, value in values],
    )


def _seconds(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "0"


def _shown(text: object) -> str:
    """Foreign text on one line, without what a terminal would act upon."""
    return "".join(each if each.isprintable() else " " for each in str(text))[:300]
