"""Compares what two instrumentors tell of the same traffic, and holds the differences against a list.

Three parts, each usable alone:

1. `Recorder`: providers to give to an instrumentor; `with recorder.step("a select"):` around each part of
   the traffic; `recorder.steps` is then plain JSON. It runs in a process of its own where the two
   instrumentors need different libraries or would disturb each other: print ``json.dumps(recorder.steps)``.
2. `differences(ours, theirs)`: one `Difference` for each thing that is not the same: a span, its name, kind,
   parent, status, attributes, events; a metric, its kind, unit, boundaries, its points' attributes and
   values. Times are not compared.
3. `unexplained(differences, table)`: what no `Intended` explains, and each `Intended` that explains nothing.
   The test asserts that it is empty, so that the list tells exactly what differs, and why.

Usage::

    MODES["new"]  # what OTEL_SEMCONV_STABILITY_OPT_IN is to be
    TABLE = [Intended("span: name", "The convention's name is …"),
             Intended("attribute added: error.type", "Required …", steps="fail*", modes=("new", "dup"))]
    assert unexplained(differences(ours, theirs), TABLE, mode="new") == []

It needs the SDK alone, so that it imports in any environment.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    MeterProvider,
    ObservableCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

__all__ = ["MODES", "Difference", "Intended", "Recorder", "differences", "unexplained"]

# What OTEL_SEMCONV_STABILITY_OPT_IN may say: nothing, the stable names, the old ones, both.
MODES: dict[str, str | None] = {
    "unset": None,
    "new": "http,database",
    "old": "none",
    "dup": "http/dup,database/dup",
}

Steps = Mapping[str, Mapping[str, Any]]


class Recorder:
    """Captures spans and metrics, step by step.

    Attributes:
        tracer_provider: the SDK's, to be given to the instrumentor.
        meter_provider: the SDK's, to be given to the instrumentor.
        steps: what was captured, by step: plain JSON.
    """

    def __init__(self, settle: Callable[[], object] = lambda: None) -> None:
        """``settle`` is called before each capture: what ends late ends there."""
        self._settle = settle
        self._exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        kinds = (Counter, Histogram, ObservableCounter)  # what goes up and down is told as it stands
        self._reader = InMemoryMetricReader(
            preferred_temporality=dict.fromkeys(kinds, AggregationTemporality.DELTA)
        )
        self.meter_provider = MeterProvider([self._reader])
        self.steps: dict[str, dict[str, Any]] = {}
        self._notes: dict[str, Any] = {}

    def note(self, name: str, value: Any) -> None:
        """Adds to the step something else to be compared, as what the server was sent: plain JSON."""
        self._notes[name] = value

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """What is told from here to the block's end belongs to the step. Nothing is where it raises."""
        self._take()
        yield
        assert name not in self.steps, f"two steps are called {name!r}"
        self.steps[name] = self._take()

    def _take(self) -> dict[str, Any]:
        gc.collect()
        self._settle()
        spans = sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
        self._exporter.clear()
        index = {span.context.span_id: number for number, span in enumerate(spans)}
        notes, self._notes = self._notes, {}
        return {
            "spans": [_told(span, index) for span in spans],
            "metrics": self._metrics(),
            "notes": notes,
        }

    def _metrics(self) -> list[dict[str, Any]]:
        data = self._reader.get_metrics_data()
        if data is None:
            return []
        found = []
        for metric in (m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics):
            points = metric.data.data_points
            found.append(
                {
                    "name": metric.name,
                    "unit": metric.unit,
                    "kind": type(metric.data).__name__,
                    "monotonic": getattr(metric.data, "is_monotonic", None),
                    "buckets": list(getattr(points[0], "explicit_bounds", ())) if points else [],
                    "points": [
                        {
                            "attributes": _plain(point.attributes),
                            "value": getattr(point, "count", getattr(point, "value", None)),
                        }
                        for point in points
                    ],
                }
            )
        return found


def _told(span: ReadableSpan, index: Mapping[int, int]) -> dict[str, Any]:
    parent: Any = None
    if span.parent is not None:
        # One of the step's, or one from elsewhere, known by its id.
        parent = index.get(span.parent.span_id, f"{span.parent.span_id:016x}")
    return {
        "name": span.name,
        "kind": span.kind.name,
        "parent": parent,
        "status": span.status.status_code.name,
        "description": span.status.description,
        "attributes": _plain(span.attributes),
        "events": [{"name": event.name, "attributes": _plain(event.attributes)} for event in span.events],
        "links": len(span.links),
    }


def _plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """As JSON gives it back: a sequence is a list."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in (attributes or {}).items()}


@dataclass(frozen=True)
class Difference:
    """One thing that two instrumentors tell differently.

    Attributes:
        step: the part of the traffic.
        what: ``span missing: NAME`` (ours has none), ``span added: NAME``, ``span: name`` (or kind, parent,
            status, description, links), ``attribute added: KEY`` (or missing, changed), ``event added: NAME``
            (or missing), ``event attribute added: KEY`` (or missing, changed), ``metric added: NAME`` (or
            missing), ``NAME: unit`` (or kind, monotonic, buckets, points, value),
            ``NAME: attribute added: KEY`` (or missing, changed).
        ours: our value.
        theirs: the other's.
        of: the span's name as we tell it, or the metric's.
    """

    step: str
    what: str
    ours: Any
    theirs: Any
    of: str = ""


@dataclass(frozen=True)
class Intended:
    """A difference that is meant.

    Attributes:
        what: `Difference.what`; a pattern (``metric added: db.client.connection.*``).
        why: the reason, for the reader.
        steps: where it is meant; a pattern.
        modes: the MODES in which it is; empty for all.
        holds: says of our value and theirs whether they are what is meant; without it, any are.
    """

    what: str
    why: str
    steps: str = "*"
    modes: tuple[str, ...] = ()
    holds: Callable[[Any, Any], bool] | None = None

    def explains(self, found: Difference) -> bool:
        return (
            fnmatchcase(found.what, self.what)
            and fnmatchcase(found.step, self.steps)
            and (self.holds is None or self.holds(found.ours, found.theirs))
        )


def unexplained(found: Iterable[Difference], table: Iterable[Intended], mode: str) -> list[str]:
    """A line for each difference that no entry explains, and for each entry that explains none.

    Args:
        found: all differences of the traffic in one mode.
        table: what is meant.
        mode: a key of `MODES`: entries for other modes don't count.
    """
    entries = [entry for entry in table if not entry.modes or mode in entry.modes]
    used: set[int] = set()
    lines = []
    for difference in found:
        explaining = [number for number, entry in enumerate(entries) if entry.explains(difference)]
        used.update(explaining)
        if not explaining:
            lines.append(
                f"[{mode}] {difference.step}: {difference.of}: {difference.what}: "
                f"ours {difference.ours!r}, theirs {difference.theirs!r}"
            )
    lines += [
        f"[{mode}] listed, but it does not occur: {entry.what} (steps {entry.steps})"
        for number, entry in enumerate(entries)
        if number not in used
    ]
    return lines


def differences(
    ours: Steps, theirs: Steps, skip: Callable[[Mapping[str, Any]], bool] = lambda _: False
) -> list[Difference]:
    """Everything that is not the same.

    Args:
        ours: our recorder's steps.
        theirs: the other's.
        skip: says of a span whether it has no partner on the other side, as one that only one instrumentor
            makes. The rest are paired in the order of their start; where one side has more, its last ones
            have no partner.

    Raises:
        AssertionError: the steps are not the same, or no span was told on either side.
    """
    assert list(ours) == list(theirs), f"not the same steps: {list(ours)}, {list(theirs)}"
    assert any(step["spans"] for step in (*ours.values(), *theirs.values())), "nothing was told"
    found: list[Difference] = []
    for step in ours:
        found += _spans(step, ours[step]["spans"], theirs[step]["spans"], skip)
        found += _metrics(step, ours[step]["metrics"], theirs[step]["metrics"])
        found += _attributes(step, "note ", ours[step]["notes"], theirs[step]["notes"], "")
    return found


Span = Mapping[str, Any]


def _spans(
    step: str, ours: Sequence[Span], theirs: Sequence[Span], skip: Callable[[Span], bool]
) -> Iterator[Difference]:
    mine = [number for number, span in enumerate(ours) if not skip(span)]
    others = [number for number, span in enumerate(theirs) if not skip(span)]
    paired = min(len(mine), len(others))
    partner = dict(zip(others, mine, strict=False))  # their span's number -> ours
    for number, span in enumerate(ours):
        if number not in mine[:paired]:
            yield Difference(step, f"span added: {span['name']}", span["name"], None)
    for number, span in enumerate(theirs):
        if number not in others[:paired]:
            yield Difference(step, f"span missing: {span['name']}", None, span["name"])
    for their_number, our_number in partner.items():
        one, other = ours[our_number], theirs[their_number]
        name = one["name"]
        for part in ("name", "kind", "status", "description", "links"):
            if one[part] != other[part]:
                yield Difference(step, f"span: {part}", one[part], other[part], name)
        parent = other["parent"]
        expected = partner.get(parent) if isinstance(parent, int) else parent
        if one["parent"] != expected:
            yield Difference(step, "span: parent", one["parent"], expected, name)
        yield from _attributes(step, "attribute ", one["attributes"], other["attributes"], name)
        yield from _events(step, one["events"], other["events"], name)


def _attributes(
    step: str, prefix: str, one: Mapping[str, Any], other: Mapping[str, Any], of: str
) -> Iterator[Difference]:
    for key in sorted({*one, *other}):
        if key not in other:
            yield Difference(step, f"{prefix}added: {key}", one[key], None, of)
        elif key not in one:
            yield Difference(step, f"{prefix}missing: {key}", None, other[key], of)
        elif one[key] != other[key] or type(one[key]) is not type(other[key]):
            yield Difference(step, f"{prefix}changed: {key}", one[key], other[key], of)


def _events(step: str, ours: Sequence[Span], theirs: Sequence[Span], of: str) -> Iterator[Difference]:
    left = list(theirs)
    for event in ours:
        other = next((each for each in left if each["name"] == event["name"]), None)
        if other is None:
            yield Difference(step, f"event added: {event['name']}", event, None, of)
            continue
        left.remove(other)
        yield from _attributes(step, "event attribute ", event["attributes"], other["attributes"], of)
    for event in left:
        yield Difference(step, f"event missing: {event['name']}", None, event, of)


def _metrics(step: str, ours: Sequence[Any], theirs: Sequence[Any]) -> Iterator[Difference]:
    mine = {metric["name"]: metric for metric in ours}
    others = {metric["name"]: metric for metric in theirs}
    for name in sorted({*mine, *others}):
        if name not in others:
            yield Difference(step, f"metric added: {name}", mine[name]["points"], None, name)
        elif name not in mine:
            yield Difference(step, f"metric missing: {name}", None, others[name]["points"], name)
        else:
            one, other = mine[name], others[name]
            for part in ("unit", "kind", "monotonic", "buckets"):
                if one[part] != other[part]:
                    yield Difference(step, f"{name}: {part}", one[part], other[part], name)
            yield from _points(step, name, one["points"], other["points"])


def _points(step: str, name: str, ours: Sequence[Any], theirs: Sequence[Any]) -> Iterator[Difference]:
    if len(ours) != len(theirs):
        yield Difference(step, f"{name}: points", ours, theirs, name)
        return
    left = list(theirs)
    for point in ours:
        # The one that has most in common: attributes may have other names.
        items = point["attributes"].items()
        other = max(left, key=lambda each: sum(item in each["attributes"].items() for item in items))
        left.remove(other)
        yield from _attributes(step, f"{name}: attribute ", point["attributes"], other["attributes"], name)
        if point["value"] != other["value"]:
            yield Difference(step, f"{name}: value", point["value"], other["value"], name)
