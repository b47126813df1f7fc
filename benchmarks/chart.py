"""The results as an SVG of bars that reads on light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from benchmarks.arms import OURS, PLAIN
from benchmarks.figures import Results, digits

__all__ = ["PANELS", "Panel", "svg"]


@dataclass(frozen=True)
class Panel:
    """One group of bars."""

    title: str
    workload: str
    figure: str
    unit: str


PANELS: Sequence[Panel] = (
    Panel("A span with 8 attributes, process CPU", "span_cost", "process_8", "µs"),
    Panel("A Flask request, 3 SQL, 2 Redis: added process CPU", "flask_request", "process", "µs"),
    Panel("Start-up and exit: added time", "start_up", "wall", "ms"),
    Panel("Start-up: added peak memory", "start_up", "rss", "MiB"),
    Panel("A histogram's record, process CPU", "metric_cost", "record_process", "µs"),
    Panel("Encoding a span", "encode_cost", "process", "µs"),
)

WIDTH, LABEL, VALUE, ROW, BAR, GAP, COLUMNS = 960, 70, 70, 20, 13, 26, 2
# Text in a grey that has contrast on white and on near-black; without a background of its own the
# chart sits on the page's.
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #57606a }
.title { font-weight: 600; font-size: 13px; fill: #24292f }
.bar { fill: #8c959f } .ours { fill: #0969da } .ours-text { font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #9da7b1 } .title { fill: #e6edf3 } .bar { fill: #6e7681 } .ours { fill: #58a6ff }
}
"""


def svg(results: Results, about: Mapping[str, Any]) -> str:
    """The chart. Panels without figures are left out; within one, the least comes first."""
    across = (WIDTH - GAP * (COLUMNS - 1)) // COLUMNS
    drawn: list[str] = []
    tops = [34] * COLUMNS
    for panel in PANELS:
        bars = _bars(results, panel)
        if not bars:
            continue
        column = tops.index(min(tops))
        drawn += _panel(panel, bars, column * (across + GAP), tops[column], across)
        tops[column] += 24 + ROW * len(bars) + 18
    height = max(tops)
    caption = f"Medians of {about['rounds']} rounds, {about['date']}, {about['cpu']}. Less is better."
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>{escape(caption)}</title>",
            f"<style>{STYLE}</style>",
            f'<text x="0" y="14">{escape(caption)}</text>',
            *drawn,
            "</svg>\n",
        ]
    )


def _bars(results: Results, panel: Panel) -> list[tuple[str, float]]:
    found = []
    for arm in results.arms(panel.workload):
        spread = results.spread(panel.workload, panel.figure, arm)
        if spread is not None and arm != PLAIN:
            found.append((arm, spread.median))
    return sorted(found, key=lambda bar: bar[1])


def _panel(panel: Panel, bars: Sequence[tuple[str, float]], left: int, top: int, width: int) -> list[str]:
    drawn = [f'<text class="title" x="{left}" y="{top + 12}">{escape(panel.title)}</text>']
    longest = max(value for _, value in bars)
    room = width - LABEL - VALUE
    for number, (arm, value) in enumerate(bars):
        y = top + 22 + ROW * number
        own = arm == OURS
        # A difference to plain can come out below nothing, a bar cannot.
        length = max(1.0, room * value / longest) if longest > 0 else 1.0
        text = "ours-text" if own else ""
        bar = "ours" if own else "bar"
        base, start = y + BAR - 2, left + LABEL
        said = f"{digits(value)} {escape(panel.unit)}"
        drawn += [
            f'<text class="{text}" x="{start - 6}" y="{base}" text-anchor="end">{escape(arm)}</text>',
            f'<rect class="{bar}" x="{start}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>',
            f'<text class="{text}" x="{start + length + 5:.1f}" y="{base}">{said}</text>',
        ]
    return drawn
