"""Sends the store a planned load: `python load.py --url http://127.0.0.1:8000 --rate 20 --requests 300`.

Requests leave at the given rate whether or not answers come (an open loop), so a store that stalls shows
in the latencies, which count from the moment a request was due. Nothing that a tracer instruments is
used here, and no traceparent is sent: every request begins a trace of its own in the store.
"""

from __future__ import annotations

import argparse
import http.client
import ipaddress
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from load_plan import MIXES, TRACKS, Request, plan

LISTED = 20  # examples of what went wrong that a report names


@dataclass
class Tally:
    """What came back. `add` may be called from any thread."""

    routes: dict[str, Counter[str]] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    failing: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, request: Request, status: int | str, seconds: float) -> None:
        """Counts one answer; a `status` that is text says why there was none."""
        with self.lock:
            self.latencies.append(seconds)
            key = str(status) if isinstance(status, int) else "none"
            self.routes.setdefault(request.name, Counter())[key] += 1
            if not isinstance(status, int):
                self.unanswered.append(f"{request.method} {request.path}: {status}")
                return
            self.failing += status >= 500
            if status not in ((200, 503) if request.status is None else (request.status,)):
                self.unexpected.append(f"{request.method} {request.path}: {status}, not {request.status}")

    def report(self) -> dict[str, Any]:
        """As it is written to the file. Latencies are seconds."""
        with self.lock:
            ranked = sorted(self.latencies)
            by_status: Counter[str] = sum(self.routes.values(), Counter())
            return {
                "sent": len(ranked),
                "failing": self.failing,
                "by_status": dict(sorted(by_status.items())),
                "by_route": {name: sum(c.values()) for name, c in sorted(self.routes.items())},
                "by_route_status": {name: dict(sorted(c.items())) for name, c in sorted(self.routes.items())},
                "latency": {f"p{q}": _quantile(ranked, q) for q in (50, 95, 99, 100)},
                "unanswered": len(self.unanswered),
                "unexpected": len(self.unexpected),
                "examples": (self.unanswered + self.unexpected)[:LISTED],
            }


def _quantile(ranked: list[float], percent: int) -> float | None:
    """The nearest rank: a latency that really occurred."""
    return round(ranked[max(0, -(-len(ranked) * percent // 100) - 1)], 4) if ranked else None


def send(base: str, request: Request, timeout: float) -> int | str:
    """Sends one request and reads the whole answer. Returns the status, or why there was none."""
    target = urlsplit(base)
    connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=timeout)
    headers = {"User-Agent": "store-load", "Accept": "application/json", "Connection": "close"}
    if request.body is not None:
        headers["Content-Type"] = "application/json"
    try:
        connection.request(request.method, request.path, request.body, headers)
        response = connection.getresponse()
        while response.read(65_536):
            pass
        return response.status
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()


def drive(
    requests: Sequence[Request],
    base: str,
    rate: float,
    tally: Tally,
    workers: int = 16,
    timeout: float = 15.0,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Sends the requests at `rate` a second, waits for the answers and counts them in `tally`.

    `advance` is called after each answer, from any thread. Interrupted, it sends no more and lets those
    under way end.
    """

    def one(request: Request, due: float) -> None:
        status = send(base, request, timeout)
        tally.add(request, status, time.perf_counter() - due)
        advance()

    pool = ThreadPoolExecutor(workers)
    begin = time.perf_counter()
    interrupted = True
    try:
        for number, request in enumerate(requests):
            due = begin + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            pool.submit(one, request, due)
        interrupted = False
    finally:
        pool.shutdown(wait=True, cancel_futures=interrupted)


def is_loopback(url: str) -> bool:
    """Whether the address is this machine by its very name, without asking a name server."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def main(argv: list[str] | None = None) -> int:
    """The command: 0 when every answer was the planned one, 1 when not, 130 when interrupted."""
    args = _arguments(argv)
    requests = plan(args.seed, args.requests, args.mix, args.tracks)
    tally, code, begin = Tally(), 0, time.time()
    try:
        with _progress(args, tally) as advance:
            drive(requests, args.url, args.rate, tally, args.workers, args.timeout, advance)
    except KeyboardInterrupt:
        code = 130
    report = {
        **{key: getattr(args, key) for key in ("url", "mix", "seed", "rate", "requests")},
        "planned_failing": sum(request.fails for request in requests),
        "began": begin,
        "seconds": round(time.time() - begin, 3),
        **tally.report(),
    }
    if args.report:
        args.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if not args.quiet:
        _summary(report)
    return code or int(report["unanswered"] + report["unexpected"] > 0)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Send the store a planned load.")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second")
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mix", choices=sorted(MIXES), default="default")
    parser.add_argument("--tracks", type=int, default=TRACKS, help="how many the store was seeded with")
    parser.add_argument("--workers", type=int, default=16, help="requests under way at once, at most")
    parser.add_argument("--timeout", type=float, default=15.0, help="seconds to wait for an answer")
    parser.add_argument("--report", type=Path, metavar="FILE.json")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--allow-remote", action="store_true", help="let the target be another machine")
    args = parser.parse_args(argv)
    if not 0 < args.rate <= 1_000 or args.requests < 0 or args.workers < 1 or args.timeout <= 0:
        parser.error("--rate must be above 0 and at most 1000; the other numbers must be positive")
    if args.tracks < 100:
        parser.error("--tracks must be at least 100")
    if urlsplit(args.url).scheme != "http" or not urlsplit(args.url).hostname:
        parser.error(f"--url {args.url}: not an http:// address")
    if not args.allow_remote and not is_loopback(args.url):
        parser.error(f"--url {args.url}: not this machine; --allow-remote if you may load it")
    args.url = args.url.rstrip("/")
    return args


class _progress:
    """A bar on a terminal, a line every tenth of the way elsewhere, nothing with --quiet."""

    def __init__(self, args: argparse.Namespace, tally: Tally) -> None:
        self._total, self._tally = args.requests, tally
        self._bar: Any = None
        self._lock, self._done, self._quiet = threading.Lock(), 0, args.quiet

    def __enter__(self) -> Callable[[], None]:
        if not self._quiet and sys.stdout.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[failing]} failing"),
            )
            self._bar = Progress(TextColumn("load"), BarColumn(), *columns)
            self._bar.start()
            self._task = self._bar.add_task("load", total=self._total, failing=0)
        return self._advance

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _advance(self) -> None:
        if self._bar is not None:
            self._bar.update(self._task, advance=1, failing=self._tally.failing)
        elif not self._quiet:
            with self._lock:
                self._done += 1
                if self._done % max(1, self._total // 10) == 0:
                    print(
                        f"{self._done} of {self._total} answered, {self._tally.failing} failing", flush=True
                    )


def _summary(report: dict[str, Any]) -> None:
    latency = report["latency"]
    print(f"sent {report['sent']} in {report['seconds']} s, {report['failing']} failing", end="")
    if report["sent"]:
        print(f", p50 {latency['p50'] * 1000:.0f} ms, p95 {latency['p95'] * 1000:.0f} ms", end="")
    print("\nby status: " + ", ".join(f"{status} {count}" for status, count in report["by_status"].items()))
    for route, counts in report["by_route_status"].items():
        print(f"  {route}: " + ", ".join(f"{status} {count}" for status, count in counts.items()))
    for example in report["examples"]:
        print(f"not as planned: {example}")


if __name__ == "__main__":
    sys.exit(main())
