"""The picture of how the console and the rest fit together, as a real browser draws it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

pytestmark = pytest.mark.real

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "overview.svg"
# Fonts differ from reader to reader: a label must still fit in one a fifth wider than the one here.
WIDER = 1.2
MEASURE = """
const box = (node) => { const r = node.getBBox(); return [r.x, r.y, r.x + r.width, r.y + r.height]; };
const corners = (line) => {
  const steps = [];
  const length = line.getTotalLength();
  for (let at = 0; at <= length; at += 2) { const p = line.getPointAtLength(at); steps.push([p.x, p.y]); }
  return steps;
};
return {
  texts: [...document.querySelectorAll("text")].map((node) => [node.textContent, ...box(node)]),
  boxes: [...document.querySelectorAll("rect")].map(box),
  lines: [...document.querySelectorAll("path.line")].flatMap(corners),
};
"""


@pytest.fixture(scope="module")
def drawn() -> Iterator[dict[str, Any]]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "/usr/bin/chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1000,700"):
        options.add_argument(argument)
    driver = webdriver.Chrome(
        options=options, service=Service(shutil.which("chromedriver") or "/usr/bin/chromedriver")
    )
    driver.get(PICTURE.as_uri())
    yield driver.execute_script(MEASURE)
    driver.quit()


def test_no_label_runs_out_of_its_box(drawn: dict[str, Any]) -> None:
    assert len(drawn["texts"]) > 15
    for text, left, top, right, bottom in drawn["texts"]:
        end = left + (right - left) * WIDER
        # The smallest box around where the label starts: its own.
        around = [box for box in drawn["boxes"] if box[0] < left < box[2] and box[1] < top < box[3]]
        own = min(around, key=lambda box: box[2] - box[0])
        assert end < own[2], text
        assert bottom < own[3], text


def test_no_line_and_no_other_label_strikes_through_a_label(drawn: dict[str, Any]) -> None:
    for text, left, top, right, bottom in drawn["texts"]:
        end = left + (right - left) * WIDER
        assert not [p for p in drawn["lines"] if left - 4 < p[0] < end + 4 and top - 2 < p[1] < bottom + 2], (
            text
        )
        for other, other_left, other_top, _, other_bottom in drawn["texts"]:
            beside = left < other_left < end and top < other_bottom and other_top < bottom
            assert not beside, f"{text!r} runs into {other!r}"


def test_the_picture_brings_its_own_ground_for_dark_pages(drawn: dict[str, Any]) -> None:
    whole = drawn["boxes"][0]
    assert (round(whole[0]), round(whole[2]), round(whole[3])) == (0, 1000, 560)
