"""What the workload scripts share. Runs in every arm's environment, so: the standard library only."""

from __future__ import annotations

import importlib
import json
import time
from typing import Any

__all__ = ["TREE", "Meter", "attributes", "driver", "report", "trees"]

TREE = 10  # spans of a tree: one root, nine children; about what a web request makes


def driver(name: str) -> Any:
    """The module that speaks the arm's API, with the arm started."""
    module = importlib.import_module(f"drivers.{name}")
    module.start()
    return module


def attributes(number: int, count: int) -> list[tuple[str, Any]]:
    """Attributes as a web request has them: five that repeat and three that do not. 0 or all 8."""
    every = [
        ("http.request.method", "GET"),
        ("http.route", "/albums/<int:number>"),
        ("http.response.status_code", 200),
        ("server.address", "shop.example.com"),
        ("network.protocol.version", "1.1"),
        ("url.path", f"/albums/{number}"),
        ("enduser.number", number),
        ("shop.total", number * 0.25),
    ]
    return every[:count]


def trees(first: int, spans: int, count: int) -> list[list[list[tuple[str, Any]]]]:
    """``spans`` spans' attributes in trees, each span with values of its own from ``first`` on."""
    return [
        [attributes(number, count) for number in range(at, at + TREE)]
        for at in range(first, first + spans, TREE)
    ]


class Meter:
    """Adds up CPU time, in seconds, of the process and of the calling thread, over several sections."""

    def __init__(self) -> None:
        self.process = 0.0
        self.thread = 0.0

    def __enter__(self) -> Meter:
        self._process, self._thread = time.process_time(), time.thread_time()
        return self

    def __exit__(self, *_: object) -> None:
        thread, process = time.thread_time(), time.process_time()
        self.thread += thread - self._thread
        self.process += process - self._process


def report(values: dict[str, float], **sent: Any) -> None:
    """Prints the measurement: the one line of JSON that the harness reads, the last on standard output."""
    print(json.dumps({"values": values, **sent}), flush=True)
