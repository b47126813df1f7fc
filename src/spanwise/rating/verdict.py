"""The verdict on a finished span, in the process. Must agree span by span with the Collector's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from opentelemetry.trace import SpanKind

__all__ = ["Candidate", "Verdict", "VerdictFunction", "critical_beyond", "verdicts"]


class Verdict(NamedTuple):
    """How a finished span was rated; never ``good``.

    Attributes:
        rating: ``acceptable``, ``poor`` or ``critical``.
        rule: the name of the rule that decided.
        limit: the limit that was passed, in seconds.
    """

    rating: str
    rule: str
    limit: float


VerdictFunction: TypeAlias = Callable[[str, SpanKind, Mapping[str, Any], int], "Verdict | None"]


class Candidate(NamedTuple):
    """A match of a rule, with what its rule says. Ranks are unique, so tuples sort by rank alone.

    Attributes:
        rank: its place in the order of precedence, 0 first.
        kind: the span kind it wants, in lower case; None for any.
        name: the span name it wants; None for any.
        attributes: (key, value) pairs it wants; None for any value.
        edges: (nanoseconds beyond which a verdict holds, the verdict), worst first.
    """

    rank: int
    kind: str | None
    name: str | None
    attributes: tuple[tuple[str, object], ...]
    edges: tuple[tuple[int, Verdict], ...]


class _Index(NamedTuple):
    """The candidates for one span kind, found by what a span has instead of one after the other.

    Attributes:
        floor: no span of this kind that took at most this long is worse than good.
        names: candidates that want an exact span name.
        values: (key, candidates by value) for those that want an attribute's value.
        others: the rest, best rank first.
    """

    floor: int
    names: dict[str, list[Candidate]]
    values: tuple[tuple[str, dict[object, list[Candidate]]], ...]
    others: tuple[Candidate, ...]


def verdicts(candidates: Sequence[Candidate]) -> VerdictFunction:
    """Makes the function that rates spans.

    Args:
        candidates: by rank.

    Returns:
        A function of a span's name, kind, attributes and duration in nanoseconds. It returns None for a
        span that is good or that no rule is about. The most specific rule decides, also when it says good.
        Its attribute ``floor`` is the duration up to which it says None of every span.
    """
    indexes = [
        _index([each for each in candidates if each.kind in (None, kind)])
        for kind in ("server", "client", "internal", "producer", "consumer")
    ]
    server, client, internal, producer, consumer = indexes

    def verdict(name: str, kind: SpanKind, attributes: Mapping[str, Any], duration: int) -> Verdict | None:
        # Comparing identities: the hash of an enumeration's member is computed in Python each time.
        if kind is SpanKind.INTERNAL:
            index = internal
        elif kind is SpanKind.CLIENT:
            index = client
        elif kind is SpanKind.SERVER:
            index = server
        elif kind is SpanKind.PRODUCER:
            index = producer
        else:
            index = consumer
        if duration <= index.floor:
            return None
        return _decide(index, name, attributes, duration)

    # Most spans are shorter than any limit: whoever asks can leave them out (spans.verdict).
    verdict.floor = min(index.floor for index in indexes)  # type: ignore[attr-defined]
    return verdict


def critical_beyond(candidates: Sequence[Candidate], rule: str) -> float | None:
    """Seconds beyond which a rule calls a span critical; None where there is no rule of that name."""
    worst = (each.edges[0][1] for each in candidates)
    return next((verdict.limit for verdict in worst if verdict.rule == rule), None)


def _index(candidates: list[Candidate]) -> _Index:
    names: dict[str, list[Candidate]] = {}
    values: dict[str, dict[object, list[Candidate]]] = {}
    others: list[Candidate] = []
    for each in candidates:
        valued = next(((key, value) for key, value in each.attributes if value is not None), None)
        if each.name is not None:
            names.setdefault(each.name, []).append(each)
        elif valued is not None:
            values.setdefault(valued[0], {}).setdefault(valued[1], []).append(each)
        else:
            others.append(each)
    # Without candidates no duration is too long; the greatest one of the format is 2^63 - 1.
    floor = min((each.edges[-1][0] for each in candidates), default=(1 << 63) - 1)
    return _Index(floor, names, tuple(values.items()), tuple(others))


def _decide(index: _Index, name: str, attributes: Mapping[str, Any], duration: int) -> Verdict | None:
    best: Candidate | None = None
    for each in index.names.get(name, ()):
        if (best is None or each.rank < best.rank) and _holds(each, attributes):
            best = each
    for key, by_value in index.values:
        for each in by_value.get(_plain(attributes.get(key)), ()):
            if (best is None or each.rank < best.rank) and _holds(each, attributes):
                best = each
    for each in index.others:
        if best is not None and best.rank < each.rank:
            break
        if _holds(each, attributes):
            best = each
            break
    if best is not None:
        for edge, said in best.edges:
            if duration > edge:
                return said
    return None


def _plain(value: object) -> object:
    """The value as it can be compared and looked up; None for what no rule can name."""
    if value.__class__ is str or value.__class__ is int or value.__class__ is bool:
        return value
    if isinstance(value, str):
        return str.__str__(value)  # a string enumeration's member hashes by its own rules
    return value if isinstance(value, (int, float)) else None


def _holds(candidate: Candidate, attributes: Mapping[str, Any]) -> bool:
    for key, wanted in candidate.attributes:
        value = attributes.get(key)
        if value is None:
            return False
        if wanted is not None:
            value = _plain(value)
            # True equals 1 in Python, and in no other consumer.
            if value != wanted or isinstance(value, bool) is not isinstance(wanted, bool):
                return False
    return True
