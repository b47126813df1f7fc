"""Label values as the Collector writes them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanwise.labels import label_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("", ""),
        ("A", "A"),
        (True, "true"),
        (7, "7"),
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (1e16, "10000000000000000"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e21, "1e+21"),
        (1.5e-6, "0.0000015"),
        (1.5e-7, "1.5e-7"),
        (5e-324, "5e-324"),
        (math.inf, "json: unsupported value: +Inf"),
        (-math.inf, "json: unsupported value: -Inf"),
        (math.nan, "json: unsupported value: NaN"),
    ],
)
def test_a_value_as_a_label(value: object, text: str) -> None:
    assert label_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_back_as_the_same(value: float) -> None:
    text = label_text(value)
    assert float(text) == value
    assert not text.endswith(".0")
