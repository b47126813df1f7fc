"""How each span is rated: the process's own verdict, which here also says which rule found a span good."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from opentelemetry.trace import SpanKind

from spanwise.rating.lowered import candidates
from spanwise.rating.verdict import Verdict, verdicts
from spanwise.rules.model import RATINGS, Rule, by_precedence

__all__ = ["GOOD", "Judge", "judge"]

GOOD: Final = RATINGS[0]

Judge: TypeAlias = Callable[[str, int, Mapping[str, Any], int], "Verdict | None"]
"""Of a span's name, kind (OTLP's number), attributes, duration in nanoseconds. None: no rule is about it."""

_KINDS: Final = (SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER)
# Less than any difference of two times.
_LEAST: Final = -(1 << 65)
_INT64: Final = 1 << 63


def judge(rules: tuple[Rule, ...]) -> Judge:
    """The function that rates spans, with a verdict ``good`` too.

    Args:
        rules: as the thresholds were lowered to.
    """
    goods = {
        rule.name: (_LEAST, Verdict(GOOD, rule.name, rule.good / 1_000_000_000))
        for rule in by_precedence(rules)
    }
    found = tuple(
        each._replace(edges=(*each.edges, goods[each.edges[0][1].rule])) for each in candidates(rules)
    )
    of_kind = verdicts(found)
    # A span without a kind is of none: only matches that want none can be about it, as in the Collector.
    of_none = verdicts([each for each in found if each.kind is None])

    def judged(name: str, kind: int, attributes: Mapping[str, Any], duration: int) -> Verdict | None:
        if not -_INT64 <= duration < _INT64:
            # The Collector computes in 64 bits. Only a clock that is centuries wrong comes here.
            duration = (duration + _INT64) % (2 * _INT64) - _INT64
        if kind:
            return of_kind(name, _KINDS[kind - 1], attributes, duration)
        return of_none(name, SpanKind.INTERNAL, attributes, duration)

    return judged
