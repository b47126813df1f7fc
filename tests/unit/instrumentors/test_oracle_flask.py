"""Flask by our instrumentor and by contrib's: the same requests, compared one by one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from oracle_compare import Intended, differences, unexplained
from spanwise.instrumentors import load as loader
from spanwise.settings import Settings

TRAFFIC = Path(__file__).with_name("oracle_flask_traffic.py")


def _frame_of_contrib(trace: str) -> str:
    """The lines of a stack trace that are contrib's own."""
    lines = trace.splitlines(keepends=True)
    return "".join(lines[1:3]) if "use_span" in lines[1] else "nothing of it"


MEANT = [
    Intended("attribute added: network.peer.address", "the conventions recommend it"),
    Intended(
        "metric added: http.server.*.body.size",
        "the conventions have them, contrib does not",
        holds=lambda ours, _: len(ours) == 1,
    ),
    Intended(
        "attribute changed: server.address",
        "a name, without the port, which has an attribute of its own",
        steps="a port",
        holds=lambda ours, theirs: theirs == f"{ours}:8080",
    ),
    Intended(
        "span: name",
        "the conventions: where no route matched, the method alone; a path would make a name of each scan",
        steps="no such *",
        holds=lambda ours, theirs: theirs.startswith(f"{ours} /"),
    ),
    Intended(
        "*attribute changed: error.type",
        "the exception says more than the status it was turned into",
        steps="an exception",
        holds=lambda ours, theirs: (ours, theirs) == ("ZeroDivisionError", "500"),
    ),
    Intended(
        "span: description",
        "the type is in error.type",
        steps="an exception",
        holds=lambda ours, theirs: theirs == f"ZeroDivisionError: {ours}",
    ),
    Intended(
        "event attribute changed: exception.stacktrace",
        "without the frames of the instrumentation itself",
        steps="an exception",
        holds=lambda ours, theirs: ours == theirs.replace(_frame_of_contrib(theirs), ""),
    ),
    Intended(
        "span: parent",
        "what is done while a body is made belongs to its request",
        steps="a stream",
        holds=lambda ours, theirs: (ours, theirs) == (0, None),
    ),
]


@lru_cache
def told_by(whose: str) -> Any:
    environ = {**os.environ, "OTEL_SEMCONV_STABILITY_OPT_IN": "http"}
    done = subprocess.run(
        [sys.executable, str(TRAFFIC), whose], env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_all_that_differs_is_meant() -> None:
    assert unexplained(differences(told_by("ours"), told_by("contrib")), MEANT, "new") == []


@pytest.mark.parametrize(
    ("opt_in", "by"), [("", "spanwise"), ("http", "spanwise"), ("http/dup", "contrib"), ("none", "contrib")]
)
def test_the_old_names_and_both_are_contrib_s_to_write(
    opt_in: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So they are contrib's one by one. Without a wish, the stable names are this distribution's default."""
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", opt_in)
    (entry,) = (each for each in loader.entry_points(loader.GROUP) if each.name == "flask")
    chosen = loader._candidate("flask", entry, Settings())
    assert (chosen.by() == "spanwise") is (by == "spanwise")
    switched = loader._candidate("flask", entry, Settings(contrib_instrumentations=("flask",)))
    assert "opentelemetry-instrumentation-flask" in switched.by()
