"""Limits proposed from what was measured, as a thresholds file.

good is what three of four spans kept to (p75), acceptable 95 and poor 99 of a hundred, each rounded up to a
readable value. For each rule, and for the busiest operations among its spans: a route, or a span's name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

import yaml

from spanwise import names
from spanwise.replay.sketch import Sketch
from spanwise.replay.spans import KINDS, Span
from spanwise.rules.model import AttributeMatch, Match, SpanRule

__all__ = ["FEWEST", "OPERATIONS_MOST", "Suggestions"]

FEWEST: Final = 100
"""Spans below which nothing is proposed: p99 of fewer is their slowest one."""

OPERATIONS_MOST: Final = 1_000
"""Operations that are measured, first come; each takes some 10 kB."""

_BUSIEST: Final = 10
_QUANTILES: Final = (("good", 0.75), ("acceptable", 0.95), ("poor", 0.99))
_READABLE: Final = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80)
_LONGEST_NAME: Final = 80
_UNITS: Final = (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000))
_SHORTEST: Final = 1_000  # nanoseconds; below it a limit says more of the clock than of the work


class Suggestions:
    """Measures what the proposals are made of.

    Args:
        rules: the span rules that hold.
        shipped: those that hold without a file of the user's.
    """

    def __init__(self, rules: Iterable[SpanRule], shipped: Iterable[SpanRule]) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._shipped = {rule.name: rule.matches for rule in shipped}
        self._of_rules: dict[str, Sketch] = {}
        self._of_operations: dict[tuple[str, Match], Sketch] = {}
        # The same by what a span has, without making a match of it each time.
        self._memo: dict[tuple[str, int, str | None, str], Sketch] = {}
        self._others = Sketch()

    def add(self, span: Span, rule: str) -> None:
        """Adds a span that a rule is about."""
        duration = span.end - span.start
        sketch = self._of_rules.get(rule)
        if sketch is None:
            sketch = self._of_rules[rule] = Sketch()
        sketch.add(duration)
        route = span.attributes.get(names.HTTP_ROUTE)
        # A list or a map is no route, and no key of a dict either.
        key = (rule, span.kind, route if isinstance(route, str) else None, span.name)
        operation = self._memo.get(key)
        if operation is None:
            operation = self._operation(*key)
        operation.add(duration)

    def _operation(self, rule: str, kind: int, route: str | None, name: str) -> Sketch:
        of_kind = KINDS[kind] if kind else None
        if route is not None:
            match = Match(of_kind, attributes=(AttributeMatch(names.HTTP_ROUTE, route),))
        else:
            match = Match(of_kind, name)
        found = self._of_operations.get((rule, match))
        if found is None:
            if len(self._of_operations) >= OPERATIONS_MOST:
                return self._others
            found = self._of_operations[rule, match] = Sketch()
        if len(self._memo) < 4 * OPERATIONS_MOST:
            self._memo[rule, kind, route, name] = found
        return found

    def text(self) -> str:
        """A thresholds file that ``spanwise thresholds check`` accepts."""
        lines = [f"# good = p75, acceptable = p95, poor = p99 of {FEWEST} spans or more, rounded up."]
        few = sorted(rule for rule, sketch in self._of_rules.items() if sketch.total < FEWEST)
        if few:
            lines.append(f"# Fewer spans: {', '.join(few)}.")
        lines.append("version: 1")
        entries = [*self._by_rule(), *self._by_operation()]
        if entries:
            lines.append("spans:")
        for name, entry, total in entries:
            lines.append(f"  # {total:,} spans")
            dumped = yaml.safe_dump({name: entry}, sort_keys=False, width=1_000_000)
            lines += [f"  {line}" for line in dumped.rstrip("\n").split("\n")]
        return "\n".join(lines) + "\n"

    def _by_rule(self) -> Iterator[tuple[str, dict[str, Any], int]]:
        for name, sketch in sorted(self._of_rules.items()):
            if sketch.total >= FEWEST:
                matches = self._rules[name].matches
                # Where the shipped entry of this name says it, it need not be said.
                said = self._shipped.get(name) == matches
                entry = {} if said else {"match": [_written(match) for match in matches]}
                yield name, {**entry, **_limits(sketch)}, sketch.total

    def _by_operation(self) -> Iterator[tuple[str, dict[str, Any], int]]:
        taken = set(self._rules)
        several = Counter(rule for rule, _ in self._of_operations)
        busiest = sorted(self._of_operations.items(), key=lambda each: -each[1].total)
        found = [
            (match, sketch)
            for (rule, match), sketch in busiest
            # One that the rule's own limits decide anyway, or that its match would outdo, is no proposal.
            if several[rule] > 1 and match.specificity > self._rules[rule].specificity and _can_be_said(match)
        ]
        for match, sketch in found[:_BUSIEST]:
            if sketch.total < FEWEST:
                return
            text = _text(match)[:_LONGEST_NAME]
            others = (f"{text} ({each})" for each in (match.kind, *range(2, 3 + len(taken))))
            name = next(each for each in (text, *others) if each not in taken)
            taken.add(name)
            yield name, {"match": _written(match), **_limits(sketch)}, sketch.total


def _text(match: Match) -> str:
    return match.name if match.name is not None else str(match.attributes[0].value)


def _can_be_said(match: Match) -> bool:
    # An asterisk would be any route; a file is text.
    return _text(match).isprintable() and _text(match).strip() not in ("", "*")


def _written(match: Match) -> dict[str, Any]:
    """A match as the file has it."""
    found: dict[str, Any] = {}
    if match.kind is not None:
        found[names.SPAN_METRICS_KIND] = match.kind
    if match.name is not None:
        found[names.SPAN_METRICS_SPAN] = match.name
    return found | {each.key: "*" if each.value is None else each.value for each in match.attributes}


def _limits(sketch: Sketch) -> dict[str, str]:
    found, least = {}, 0
    for rating, share in _QUANTILES:
        # They must rise.
        limit = _readable(max(sketch.quantile(share), least + 1))
        found[rating], least = _duration(limit), limit
    return found


def _readable(nanoseconds: int) -> int:
    """The next readable duration that is not shorter."""
    wanted, power = max(_SHORTEST, nanoseconds), 1
    while _READABLE[-1] * power * 10 < wanted:
        power *= 10
    return next(each * size for size in (power, power * 10) for each in _READABLE if each * size >= wanted)


def _duration(nanoseconds: int) -> str:
    unit, size = next(each for each in _UNITS if nanoseconds >= each[1])
    return f"{nanoseconds / size:.10g}{unit}"
