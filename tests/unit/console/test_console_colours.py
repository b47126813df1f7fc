"""The style sheet's colours: enough contrast to see a bar, enough difference to tell two apart."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import pytest

import spanwise.console.views
from spanwise.console.queries.services import COLOURS

STYLE = (Path(spanwise.console.views.__file__).parent / "static" / "style.css").read_text("utf-8")
# WCAG 2.2, 1.4.11: what is needed to understand a graphic has 3:1 to what is beside it; 1.4.3: text 4.5:1.
GRAPHIC, TEXT = 3.0, 4.5
# In OKLab (https://bottosson.github.io/posts/oklab/), where 0.02 is just noticeable side by side.
APART = 0.08


def linear(colour: str) -> list[float]:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def contrast(one: str, two: str) -> float:
    dark, light = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (linear(one), linear(two)))
    return (light + 0.05) / (dark + 0.05)


def oklab(colour: str) -> tuple[float, float, float]:
    r, g, b = linear(colour)
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    middle = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


def variables(mode: str) -> dict[str, str]:
    light, dark = re.findall(r":root \{(.*?)\n *\}", STYLE, re.DOTALL)
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light if mode == "light" else dark))


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_services_are_seen_and_told_apart(mode: str) -> None:
    found = variables(mode)
    services = [found[f"s{number}"] for number in range(COLOURS)]
    for colour in services:
        assert contrast(colour, found["panel"]) >= GRAPHIC, colour
    # Red is a failed span's, whatever its service.
    for one, two in itertools.combinations([*services, found["error"]], 2):
        assert math.dist(oklab(one), oklab(two)) >= APART, (one, two)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_can_be_read(mode: str) -> None:
    found = variables(mode)
    pairs = [
        (text, ground) for text in ("text", "quiet", "accent") for ground in ("panel", "ground", "hover")
    ]
    pairs += [(name, f"{name}-ground") for name in ("error", "warn", "good")]
    pairs += [("text", "error-ground"), ("quiet", "error-ground"), ("warn", "panel"), ("error", "panel")]
    for text, ground in pairs:
        assert contrast(found[text], found[ground]) >= TEXT, (text, ground)


def test_every_colour_of_the_api_has_a_class() -> None:
    classes = dict(re.findall(r"\.c(\d+) \{ --c: var\(--s(\d+)\); \}", STYLE))
    assert classes == {str(number): str(number) for number in range(COLOURS)}
