"""``spans:`` entries: rate finished spans by duration. ``match:`` says which; an entry without one has
the match of the shipped entry of its name."""

from __future__ import annotations

from spanwise import names
from spanwise.rules.model import SPAN_KINDS, AttributeMatch, Match, Scalar, SpanRule
from spanwise.thresholds import units
from spanwise.thresholds.document import Node, suggestion
from spanwise.thresholds.model import Entry, Field, Kind
from spanwise.thresholds.shapes import shape

__all__ = ["KIND"]

# Everything else in a match is an attribute's name.
_KIND, _NAME, _PRESENT = names.SPAN_METRICS_KIND, names.SPAN_METRICS_SPAN, "*"
_INT64 = 1 << 63


def _value(node: Node) -> Scalar | None:
    text = node.text("a text, a whole number, true or false, or '*' for any value")
    if node.scalar == "str":
        return None if text == _PRESENT else text
    plain = node.plain()
    if isinstance(plain, (bool, int)) and -_INT64 < plain < _INT64:
        return plain
    raise node.error(f"{text!r} cannot be compared exactly", "Use a text or a whole number, or quote it")


def _one(node: Node) -> Match:
    conditions = node.mapping("conditions such as {http.route: /checkout}")
    if not conditions:
        raise node.error(
            "an empty match would rate every span", "Add a condition, for example span.kind: server"
        )
    kind = name = None
    attributes = []
    for key, each in conditions.items():
        if key == _KIND:
            kind = each.text("a span kind").lower()
            if kind not in SPAN_KINDS:
                raise each.error(f"{kind!r} is no span kind", suggestion(kind, SPAN_KINDS))
        elif key == _NAME:
            name = each.text("a span's exact name")
        elif not key:
            raise each.error("an attribute's name is empty")
        else:
            attributes.append(AttributeMatch(key, _value(each)))
    return Match(kind, name, tuple(sorted(attributes, key=lambda each: each.key)))


_CONDITIONS = {
    "type": "object",
    "minProperties": 1,
    "properties": {
        _KIND: {"type": "string", "description": f"one of {', '.join(SPAN_KINDS)}"},
        _NAME: {"type": "string", "description": "the span's exact name"},
    },
    "additionalProperties": {
        "type": ["string", "integer", "boolean"],
        "description": "an attribute's exact value; '*' for any",
    },
}


@shape(anyOf=[_CONDITIONS, {"type": "array", "minItems": 1, "items": _CONDITIONS}])
def _read_match(node: Node) -> tuple[Match, ...]:
    if isinstance(node.value, list):
        if not node.value:
            raise node.error("an empty list matches no span")
        return tuple(_one(each) for each in node.value)
    return (_one(node),)


def _lower(entry: Entry) -> tuple[SpanRule, ...]:
    if "match" not in entry.values:
        raise entry.error(
            "", "which spans it is about is not said", "Add match: {http.route: /checkout}, for example"
        )
    good, acceptable, poor = (entry.values[key] for key in ("good", "acceptable", "poor"))
    if not good < acceptable < poor:
        edges = ", ".join(map(entry.said, ("good", "acceptable", "poor")))
        raise entry.error("", f"what is good, acceptable and poor must rise: {edges}")
    return (SpanRule(entry.name, entry.values["match"], good, acceptable, poor),)


KIND = Kind(
    name="span_rating",
    section="spans",
    key="",
    fields={
        "match": Field(_read_match, meaning="conditions that must all hold, or a list of such"),
        "good": Field(units.duration, required=True, meaning="up to and with it, a span is good"),
        "acceptable": Field(units.duration, required=True, meaning="up to and with it, acceptable"),
        "poor": Field(units.duration, required=True, meaning="up to and with it, poor; beyond, critical"),
    },
    lower=_lower,
)
