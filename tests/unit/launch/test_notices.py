"""Our warnings say whose they are, and only where the application has no logging of its own."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from spanwise.notices import _Seldom

WARN = "logging.getLogger('spanwise.deliver').warning('gone')"


def printed(code: str) -> str:
    """What a fresh process writes to standard error."""
    begin = "import logging; from spanwise.notices import speak; speak(); speak();"
    done = subprocess.run([sys.executable, "-c", begin + code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    return done.stderr


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (WARN, "spanwise: gone\n"),
        ("logging.getLogger('spanwise').info('details')", ""),
        ("logging.getLogger('mine').warning('theirs')", "theirs\n"),
        (f"logging.basicConfig(format='%(name)s %(message)s'); {WARN}", "spanwise.deliver gone\n"),
        (f"logging.getLogger('spanwise').addHandler(logging.NullHandler()); {WARN}", ""),
        (f"logging.getLogger('spanwise.deliver').addHandler(logging.NullHandler()); {WARN}", ""),
        (f"logging.getLogger('spanwise').propagate = False; {WARN}", "spanwise: gone\n"),
    ],
)
def test_the_name_comes_first_where_nobody_else_prints(code: str, expected: str) -> None:
    assert printed(code) == expected


# What anybody may send: by its propagator, and what is wrong with it.
HOSTILE = {
    "baggage of 60 KB": {"baggage": "k=" + "v" * 60_000},
    "a member of 5 KB": {"baggage": "k" * 5_000 + "=v"},
    "members that are none": {"baggage": ",".join("x" * 100 for _ in range(70))},
    "pairs that are none": {"baggage": ",".join(f"a{each} b=\x1b[31m" for each in range(100))},
    "no ASCII": {"baggage": "\u00e4" * 3_000 + "=v"},
    "200 members": {"baggage": ",".join(f"a{each}=b" for each in range(200))},
    "33 states": {"tracestate": ",".join(f"a{each}=b" for each in range(33))},
    "states that are none": {"tracestate": ",".join(f"A B{each}={'c' * 20}" for each in range(20))},
    "states of 60 KB": {"tracestate": "a=" + "b" * 60_000},
    "traceparent": {"traceparent": "00-" + "x" * 60_000},
}
EXTRACT = """
import json, sys, logging
from spanwise.notices import bound_propagators
bound_propagators(); bound_propagators()
from opentelemetry.propagate import extract
parent = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
hostile = json.load(sys.stdin)
for _ in range(20):
    for headers in hostile:
        extract({"traceparent": parent, **headers})
"""


def flooded(headers: list[dict[str, str]], begin: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", begin + EXTRACT],
        input=json.dumps(headers),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("what", HOSTILE)
def test_headers_of_requests_do_not_flood_the_log(what: str) -> None:
    said = flooded([HOSTILE[what]])
    assert len(said) < 200
    assert said.count("\n") == (what != "traceparent")
    assert said.isascii()
    assert "\x1b" not in said


def test_all_of_them_together_are_one_line() -> None:
    said = flooded(list(HOSTILE.values()), "import logging; logging.basicConfig()\n")
    assert len(said) < 200
    assert said.startswith("WARNING:opentelemetry.baggage.propagation:Baggage header `k=vvvv")


def test_the_next_minute_has_a_line_and_tells_how_many_there_were() -> None:
    now = [0.0]
    seldom = _Seldom(lambda: now[0])

    def passes(*arguments: object, level: int = logging.WARNING) -> str | None:
        record = logging.LogRecord("x", level, "", 0, "%s is %d wide", arguments, None)
        return record.getMessage() if seldom.filter(record) else None

    assert passes("it\n", 5) == "it\\n is 5 wide"
    assert passes("it", 5) is None
    assert passes("it", 5, level=logging.DEBUG) == "it is 5 wide"
    now[0] = 59.9
    assert passes("it", 5) is None
    now[0] = 60.0
    assert passes("v" * 60_000, 5) == "v" * 24 + "... is 5 wide [2 more since]"
    now[0] = 120.0
    # A format that does not go with its arguments is told as it is.
    assert passes("only one") == "%s is %d wide"
