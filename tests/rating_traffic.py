"""Rules and spans at their edges, from a source of randomness: hypothesis's, or a seeded one."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.trace import SpanKind

from spanwise.rules.model import SPAN_KINDS, AttributeMatch, Match, Rule, Scalar, SpanRule

HOSTILE = '${env:HOME} $$ "quoted" \\ back\nline {{ .Values }} \x01 é 🎵 \' ; drop'
START = 1_700_000_000_000_000_001
_KEYS = ("http.route", "flag", "text", "k", 'odd "key" $1')
_TEXTS = ("", "x", "true", "1", HOSTILE)
_VALUES: tuple[Scalar | None, ...] = (None, *_TEXTS, True, False, 0, 1, -5, 2**53, (1 << 63) - 1)
_NAMES = ("the one", "GET /x", HOSTILE, "")


class Sent(NamedTuple):
    """A span to be rated; ``kind`` None is one that has none."""

    name: str
    kind: SpanKind | None
    attributes: dict[str, Any]
    duration: int


def rules_of(random: Random, count: int) -> tuple[SpanRule, ...]:
    """Rules that overlap, with limits from a nanosecond up, some of them next to each other."""
    return tuple(_rule(random, f"rule {number}") for number in range(count))


def _rule(random: Random, name: str) -> SpanRule:
    good = random.choice((1, random.randrange(1, 1_000), random.randrange(1, 10**10)))
    acceptable = good + random.choice((1, random.randrange(1, 10**9)))
    poor = acceptable + random.choice((1, random.randrange(1, 10**9)))
    matches = tuple(_match(random) for _ in range(random.randrange(1, 4)))
    return SpanRule(name, matches, good, acceptable, poor)


def _match(random: Random) -> Match:
    keys = random.sample(_KEYS, random.randrange(3))
    kind = random.choice((None, *SPAN_KINDS))
    name = random.choice((None, None, None, *_NAMES))
    if kind is None and name is None and not keys:
        kind = "server"  # as in a file: a match says something
    return Match(kind, name, tuple(AttributeMatch(key, random.choice(_VALUES)) for key in sorted(keys)))


def traffic(rules: tuple[Rule, ...], random: Random) -> list[Sent]:
    """For every match of every rule a span that fits and variants that nearly do, each at, one nanosecond
    under and one over every limit of that rule; and what has no time at all or ends before it starts."""
    spans = [rule for rule in rules if isinstance(rule, SpanRule)]
    matches = [match for rule in spans for match in rule.matches]
    found: list[Sent] = []
    for rule in spans:
        durations = [limit + off for _, limit in rule.edges for off in (-1, 0, 1)]
        for match in rule.matches:
            fitting = _fitting(match, random)
            variants = [fitting, *_near(fitting, match, random.choice(matches), random)]
            found += [Sent(*each, duration) for each in variants for duration in durations]
            found.append(Sent(*fitting, random.choice((0, -1, -(10**12)))))
    return found


_Shape = tuple[str, "SpanKind | None", dict[str, Any]]


def _fitting(match: Match, random: Random) -> _Shape:
    kind = SpanKind[match.kind.upper()] if match.kind else random.choice(list(SpanKind))
    attributes = {
        each.key: random.choice(("", "any", 0, False, 1.5, ["a"])) if each.value is None else each.value
        for each in match.attributes
    }
    return match.name if match.name is not None else "any name", kind, attributes


def _near(fitting: _Shape, match: Match, other: Match, random: Random) -> list[_Shape]:
    name, kind, attributes = fitting
    found: list[_Shape] = [
        (name, random.choice([each for each in SpanKind if each is not kind]), attributes),
        (name + " ", kind, attributes),
        # Two rules are about it: the more specific one decides.
        (name, kind, {**_fitting(other, random)[2], **attributes}),
        (name, None, attributes),
    ]
    for each in match.attributes:
        found.append((name, kind, {key: value for key, value in attributes.items() if key != each.key}))
        if each.value is not None:
            found += [(name, kind, {**attributes, each.key: value}) for value in _mistaken(each.value)]
    return found


def _mistaken(value: Scalar) -> list[Any]:
    """What looks like the value: of another type, or with a little more."""
    if isinstance(value, bool):
        return [not value, int(value), str(value).lower(), float(value)]
    if isinstance(value, int):
        # Beyond 2^53 a float is not the integer that it is written as.
        return [str(value), value - 1, *([float(value)] if abs(value) < 2**53 else []), bool(value)]
    return [value + " ", value.upper() + "X", [value], value.encode()]


def request(
    sent: list[Sent], random: Random, resource: dict[str, Any] | None = None
) -> ExportTraceServiceRequest:
    """The spans as a sender of any language may send them, in their order, each in a trace of its own."""
    message = ExportTraceServiceRequest()
    group = message.resource_spans.add()
    for key, value in (resource or {}).items():
        _set(group.resource.attributes.add(key=key).value, value)
    scope = group.scope_spans.add()
    for each in sent:
        span = scope.spans.add(name=each.name, kind=each.kind.value + 1 if each.kind else 0)
        span.trace_id, span.span_id = random.randbytes(15) + b"\1", random.randbytes(7) + b"\1"
        span.start_time_unix_nano, span.end_time_unix_nano = START, START + each.duration
        for key, value in each.attributes.items():
            _set(span.attributes.add(key=key).value, value)
    return message


def _set(target: AnyValue, value: Any) -> None:
    if isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int):
        target.int_value = value
    elif isinstance(value, float):
        target.double_value = value
    elif isinstance(value, bytes):
        target.bytes_value = value
    elif isinstance(value, str):
        target.string_value = value
    else:
        for each in value:
            _set(target.array_value.values.add(), each)
