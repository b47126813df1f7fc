"""Our warnings say whose they are, and only where the application has no logging of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
