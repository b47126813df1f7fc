"""Text and figures as people are shown them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanwise.shown import figure


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (6e8, 6, "600000000"),
        (1_234_567_890, 4, "1235000000"),
        (999.9, 3, "1000"),
        (1e-5, 6, "0.00001"),
        (-2.5e7, 6, "-25000000"),
        (0.1, 6, "0.1"),
        (0, 6, "0"),
        (math.inf, 6, "inf"),
        (1e300, 6, "1e+300"),
    ],
)
def test_figures_are_written_out(value: float, digits: int, text: str) -> None:
    assert figure(value, digits) == text


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 12))
def test_a_figure_is_the_number_to_so_many_digits(value: float, digits: int) -> None:
    assert float(figure(value, digits)) == float(f"{value:.{digits}g}")
