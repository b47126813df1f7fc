"""Variable-length integers of the protobuf wire format.

Source: https://protobuf.dev/programming-guides/encoding/#varints
"""

from __future__ import annotations

from typing import Final

__all__ = ["TABLE", "TABLE_SIZE", "varint", "zigzag"]

_MASK_64: Final = (1 << 64) - 1


def _encode(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# Nearly every varint we write is a length, and lengths of attributes and of whole spans are below
# this. A larger table costs start-up time and memory (1,024 entries: 0.2 ms, 44 kB) for lengths that
# are rare; a smaller one sends spans of ordinary size through the loop above.
TABLE_SIZE: Final = 1024
TABLE: Final[tuple[bytes, ...]] = tuple(_encode(number) for number in range(TABLE_SIZE))


def varint(value: int) -> bytes:
    """Encode an integer as protobuf writes ``int64``, ``uint64``, ``bool``, enums and lengths.

    Args:
        value: from -2**63 to 2**64 - 1. A negative one becomes its two's complement, ten bytes long.

    Raises:
        OverflowError: the value doesn't fit 64 bits.
    """
    if 0 <= value < TABLE_SIZE:
        return TABLE[value]
    # Sizes and counts of telemetry end here; spelt out, four times as quick as the loop.
    if 0 <= value < 1 << 14:
        return (value & 0x7F | 0x80 | value << 1 & 0x7F00).to_bytes(2, "little")
    if 0 <= value < 1 << 21:
        return (value & 0x7F | 0x8080 | value << 1 & 0x7F00 | value << 2 & 0x7F0000).to_bytes(3, "little")
    if not -(1 << 63) <= value <= _MASK_64:
        raise OverflowError(f"{value} does not fit 64 bits")
    return _encode(value & _MASK_64)


def zigzag(value: int) -> bytes:
    """Encode an integer as protobuf writes ``sint32``: small in either direction is short.

    Args:
        value: from -2**31 to 2**31 - 1.

    Raises:
        OverflowError: the value doesn't fit 32 bits.
    """
    if not -(1 << 31) <= value < (1 << 31):
        raise OverflowError(f"{value} does not fit 32 bits")
    return varint((value << 1) ^ (value >> 31))
