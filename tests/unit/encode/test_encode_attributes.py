"""Attributes: the official decoder sees what stock sends, and hostile values harm only themselves."""

from __future__ import annotations

import enum
import math
from collections import OrderedDict, UserDict
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as stock_encode_spans
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as Message
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

from spanwise.encode.attributes import (
    MAX_DEPTH,
    MAX_VALUES,
    TOO_DEEP,
    TOO_LARGE,
    UNENCODABLE,
    any_value,
    encode_attributes,
)

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
# Few values next to any value, so that the memo is met full and empty, and equal ones of other types.
SCALARS = (
    st.sampled_from(["", "GET", 0, 1, True, False, 0.0, -0.0, 1.0, 200, None, math.inf, -math.inf, math.nan])
    | st.text()
    | INT64
    | st.floats()
    | st.binary()
)
KEYS = st.sampled_from(["a", "b", "http.request.method"]) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner),
    max_leaves=12,
)
ATTRIBUTES = st.dictionaries(KEYS, VALUES, max_size=10)


class Colour(enum.IntEnum):
    RED = 1


class Kind(str, enum.Enum):
    LEAF = "leaf"


def decoded(attributes: Mapping[Any, Any] | None) -> Message:
    return Message.FromString(encode_attributes(b"\x0a", attributes))


def values(attributes: Mapping[Any, Any]) -> dict[str, AnyValue]:
    return {pair.key: pair.value for pair in decoded(attributes).attributes}


def stock(attributes: Mapping[str, Any]) -> bytes:
    span = ReadableSpan(
        "n", SpanContext(1, 1, False), resource=Resource({}), attributes=attributes, start_time=1, end_time=2
    )
    message: SpanMessage = stock_encode_spans([span]).resource_spans[0].scope_spans[0].spans[0]
    return Message(attributes=message.attributes).SerializeToString(deterministic=True)


@given(ATTRIBUTES)
def test_decodes_to_what_stock_sends(attributes: dict[str, Any]) -> None:
    expected = stock(attributes)
    # Cold, marked, kept: the memo may not change the answer.
    for _ in range(3):
        assert decoded(attributes).SerializeToString(deterministic=True) == expected


@pytest.mark.parametrize("wrap", [dict, OrderedDict, UserDict, MappingProxyType, BoundedAttributes])
def test_any_mapping_will_do(wrap: Any) -> None:
    content = {"a": 1, "b": ("x", "y"), "c": {"d": None}}
    mapping = wrap(attributes=content) if wrap is BoundedAttributes else wrap(content)
    assert decoded(mapping).SerializeToString(deterministic=True) == stock(content)
    assert encode_attributes(b"\x0a", MappingProxyType(mapping)) == encode_attributes(b"\x0a", content)


@pytest.mark.parametrize("empty", [None, {}, BoundedAttributes(), MappingProxyType({}), UserDict()])
def test_nothing_is_written_for_nothing(empty: Any) -> None:
    assert encode_attributes(b"\x0a", empty) == b""


@pytest.mark.parametrize("value", [Colour.RED, Kind.LEAF, range(3), bytearray(b"ab"), (), [], {}, [None]])
def test_subclasses_and_odd_containers_are_what_stock_sends(value: Any) -> None:
    assert decoded({"k": value}).SerializeToString(deterministic=True) == stock({"k": value})


def test_the_tag_is_the_callers() -> None:
    attributes = {"a": 1, "b": "x", "c": [1]}
    plain = encode_attributes(b"\x0a", attributes)
    span = SpanMessage.FromString(encode_attributes(b"\x4a", attributes))
    assert Message(attributes=span.attributes) == Message.FromString(plain)
    assert len(span.attributes) == 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\ud800b", "a\ufffdb"),
        (1 << 63, str(1 << 63)),
        (-(1 << 63) - 1, str(-(1 << 63) - 1)),
        (3 + 4j, "(3+4j)"),
    ],
)
def test_what_otlp_cannot_hold_is_sent_as_text(value: Any, expected: str) -> None:
    found = values({"before": 1, "k": value, "after": 2})
    assert (found["before"].int_value, found["k"].string_value, found["after"].int_value) == (1, expected, 2)


def test_an_integer_python_will_not_print_is_sent_as_hexadecimal() -> None:
    # Past sys.get_int_max_str_digits(), 4,300.
    assert values({"k": 10**5000})["k"].string_value == hex(10**5000)


def test_the_ends_of_64_bits_stay_numbers() -> None:
    found = values({"low": -(1 << 63), "high": (1 << 63) - 1})
    assert (found["low"].int_value, found["high"].int_value) == (-(1 << 63), (1 << 63) - 1)


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


class BrokenMapping(Mapping[str, Any]):
    """Gives one item, then fails."""

    def __getitem__(self, key: str) -> Any:
        return 1

    def __iter__(self) -> Iterator[str]:
        yield "first"
        raise RuntimeError("torn")

    def __len__(self) -> int:
        return 2


class BrokenSequence(list[int]):
    def __iter__(self) -> Iterator[int]:
        raise RuntimeError("torn")


class Unhashable(str):
    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("value", [Unprintable(), BrokenSequence([1]), BrokenMapping()])
def test_a_failing_value_harms_only_itself(value: Any) -> None:
    found = values({"before": 1, "k": value, "after": "x"})
    assert (found["before"].int_value, found["k"].string_value, found["after"].string_value) == (
        1,
        UNENCODABLE,
        "x",
    )


def test_a_failing_value_in_a_list_harms_only_itself() -> None:
    found = values({"k": [1, Unprintable(), "x", {"in": Unprintable()}]})
    one, broken, text, mapping = found["k"].array_value.values
    assert (one.int_value, broken.string_value, text.string_value) == (1, UNENCODABLE, "x")
    assert mapping.kvlist_value.values[0].value.string_value == UNENCODABLE


@pytest.mark.parametrize(
    ("key", "expected"),
    [(7, "7"), (None, "None"), ("k\ud800", "k\ufffd"), (Unprintable(), UNENCODABLE), (Kind.LEAF, "leaf")],
)
def test_a_key_that_is_no_good_text_harms_only_itself(key: Any, expected: str) -> None:
    for value in ("v", 1, 2.0, True, None, [1]):
        found = values({"before": 1, key: value, "after": 2})
        assert set(found) == {"before", expected, "after"}
        assert found[expected] == AnyValue.FromString(any_value(value))


def test_a_nested_key_that_is_no_text_is_made_one() -> None:
    (pair,) = values({"k": {Unprintable(): 1}})["k"].kvlist_value.values
    assert (pair.key, pair.value.int_value) == (UNENCODABLE, 1)
    assert {pair.key for pair in values({"k": {1: 1, None: 2}})["k"].kvlist_value.values} == {"1", "None"}


def test_text_that_cannot_be_hashed_is_still_text() -> None:
    assert values({"k": Unhashable("x")})["k"].string_value == "x"


def test_a_mapping_that_fails_keeps_what_it_gave() -> None:
    found = [(pair.key, pair.value.string_value) for pair in decoded(BrokenMapping()).attributes]
    assert (UNENCODABLE, UNENCODABLE) in found


def deep(levels: int, leaf: Any) -> Any:
    value = leaf
    for _ in range(levels):
        value = {"k": value}
    return value


def bottom(value: AnyValue) -> AnyValue:
    while value.WhichOneof("value") == "kvlist_value":
        value = value.kvlist_value.values[0].value
    return value


def test_nesting_stops_where_parsers_do() -> None:
    assert bottom(values({"k": deep(MAX_DEPTH, "leaf")})["k"]).string_value == "leaf"
    assert bottom(values({"k": deep(MAX_DEPTH + 1, "leaf")})["k"]).string_value == TOO_DEEP
    assert bottom(values({"k": deep(5000, "leaf")})["k"]).string_value == TOO_DEEP


def test_a_value_that_holds_itself_ends() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    found = values({"k": loop, "after": 2})
    assert found["k"].array_value.values[0].int_value == 1
    assert found["after"].int_value == 2


@pytest.mark.parametrize("base", [range(10**12), [0] * (MAX_VALUES + 1)])
def test_more_values_than_fit_a_request_are_replaced(base: Any) -> None:
    found = values({"k": base, "after": 2})
    assert (found["k"].string_value, found["after"].int_value) == (TOO_LARGE, 2)


def test_as_many_values_as_allowed_are_sent() -> None:
    assert len(values({"k": [0] * MAX_VALUES})["k"].array_value.values) == MAX_VALUES


def test_small_in_memory_but_vast_when_written_is_replaced() -> None:
    laughs: Any = "ha"
    for _ in range(20):
        laughs = [laughs] * 10
    assert values({"k": laughs})["k"].string_value == TOO_LARGE
