"""Primitive writers, against the official protobuf runtime or plain arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint, HistogramDataPoint

from spanwise.encode import wire
from spanwise.encode.varint import TABLE, TABLE_SIZE, varint, zigzag

EDGES = [0, 1, 127, 128, TABLE_SIZE - 1, TABLE_SIZE, 16383, 16384, (1 << 21) - 1, 1 << 21, (1 << 64) - 1]


def decode(encoded: bytes) -> int:
    """Read one varint, least significant group first, and insist that it is the shortest form."""
    value = 0
    for index, byte in enumerate(encoded):
        value |= (byte & 0x7F) << (7 * index)
        assert bool(byte & 0x80) == (index < len(encoded) - 1)
    assert len(encoded) == 1 or encoded[-1] != 0
    return value


@given(st.sampled_from(EDGES) | st.integers(0, (1 << 64) - 1))
def test_varint_reads_back(value: int) -> None:
    assert decode(varint(value)) == value


@given(st.integers(-(1 << 63), -1))
def test_negative_varint_is_twos_complement_of_64_bits(value: int) -> None:
    assert decode(varint(value)) == value + (1 << 64)


@pytest.mark.parametrize("value", [1 << 64, -(1 << 63) - 1])
def test_varint_refuses_more_than_64_bits(value: int) -> None:
    with pytest.raises(OverflowError):
        varint(value)


def test_table_holds_what_the_loop_makes() -> None:
    assert [decode(entry) for entry in TABLE] == list(range(TABLE_SIZE))


@given(st.integers(-(1 << 31), (1 << 31) - 1))
def test_zigzag_is_what_protobuf_reads_as_sint32(value: int) -> None:
    point = ExponentialHistogramDataPoint.FromString(b"\x30" + zigzag(value))
    assert point.scale == value


@pytest.mark.parametrize("value", [1 << 31, -(1 << 31) - 1])
def test_zigzag_refuses_more_than_32_bits(value: int) -> None:
    with pytest.raises(OverflowError):
        zigzag(value)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("plain", "plain"),
        ("é ☃ 😀", "é ☃ 😀"),
        ("a\ud800b", "a\ufffdb"),
        ("\udfff", "\ufffd"),
        ("end\ud83d", "end\ufffd"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("\ud83d\ude00", "😀"),
    ],
)
def test_utf8_replaces_lone_surrogates_only(written: str, expected: str) -> None:
    assert wire.utf8(written).decode() == expected


def test_utf8_does_not_ask_a_subclass() -> None:
    class Liar(str):
        def encode(self, *_: object) -> bytes:  # type: ignore[override]
            return b"lie"

    assert wire.utf8(Liar("truth")) == b"truth"


@given(st.lists(st.integers(0, (1 << 64) - 1)), st.lists(st.floats(allow_nan=False)))
def test_packed_fields_read_back(counts: list[int], bounds: list[float]) -> None:
    body = wire.packed_fixed64(b"\x32", counts) + wire.packed_doubles(b"\x3a", bounds)
    point = HistogramDataPoint.FromString(body)
    assert (list(point.bucket_counts), list(point.explicit_bounds)) == (counts, bounds)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, 5), (-1, 0), (300, 255), (None, 0), ("x", 0), (2.9, 2), (float("nan"), 0), ("7", 7)],
)
def test_unsigned_brings_anything_into_range(value: object, expected: int) -> None:
    assert wire.unsigned(value, 255) == expected


def test_text_and_repeated_write_nothing_for_nothing() -> None:
    assert (wire.text(b"\x0a", None), wire.text(b"\x0a", ""), wire.repeated(b"\x0a", [])) == (b"", b"", b"")


@given(st.lists(st.binary(max_size=5) | st.integers(0, 2 * TABLE_SIZE).map(bytes), max_size=5))
def test_repeated_frames_each_body(bodies: list[bytes]) -> None:
    assert wire.repeated(b"\x12", bodies) == b"".join(wire.nested(b"\x12", body) for body in bodies)


def test_tag_is_number_and_wire_type() -> None:
    assert (wire.tag(1, wire.LENGTH), wire.tag(16, wire.FIXED32)) == (b"\x0a", b"\x85\x01")
    assert (wire.tag(7, wire.FIXED64), wire.tag(6, wire.VARINT)) == (b"\x39", b"\x30")
