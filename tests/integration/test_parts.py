"""The rule for missing real parts: fail under CI, skip elsewhere, and never pass."""

from __future__ import annotations

import pytest
from parts import need

pytestmark = pytest.mark.real
MISSING = "no-such-program"


def test_a_missing_part_fails_under_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"no-such-program is not installed\. Run: get it"):
        need(MISSING, "get it")


def test_a_missing_part_skips_elsewhere_and_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"no-such-program is not installed\. Run: get it"):
        need(MISSING, "get it")


def test_a_part_that_is_there_is_found_under_ci_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert need("sh", "nothing to do").endswith("/sh")
