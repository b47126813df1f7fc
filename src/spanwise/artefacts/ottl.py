"""Text, numbers and conditions in the OpenTelemetry Transformation Language (and Go string literals).

https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/v0.145.0/pkg/ottl
"""

from __future__ import annotations

from spanwise.rules.model import Match, Scalar

__all__ = ["DURATION", "attribute", "condition", "seconds", "string", "value"]

DURATION = "span.end_time_unix_nano - span.start_time_unix_nano"
"""A span's duration in whole nanoseconds, as 64-bit integers: no rounding, and a clock that stepped
back gives a negative number, which is good."""


def string(text: str) -> str:
    """Any text as a double-quoted Go literal of printable ASCII. OTTL and PromQL both read it.

    Raises:
        UnicodeEncodeError: for a lone surrogate, which no UTF-8 file can hold.
    """
    text.encode("utf-8")
    out = []
    for character in text:
        code = ord(character)
        if character in ('"', "\\"):
            out.append("\\" + character)
        elif 0x20 <= code < 0x7F:
            out.append(character)
        elif code < 0x10000:
            out.append(f"\\u{code:04x}")
        else:
            out.append(f"\\U{code:08x}")
    return f'"{"".join(out)}"'


def seconds(nanoseconds: int) -> str:
    """Nanoseconds as a decimal number of seconds, without an exponent; the same double as in the process."""
    whole, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{whole}.{rest:09d}".rstrip("0").ljust(len(str(whole)) + 2, "0")


def value(scalar: Scalar) -> str:
    """A value that an attribute is compared with."""
    if isinstance(scalar, bool):
        return "true" if scalar else "false"
    return str(scalar) if isinstance(scalar, int) else string(scalar)


def attribute(key: str) -> str:
    """The path of a span's attribute."""
    return f"span.attributes[{string(key)}]"


def condition(match: Match) -> str:
    """The condition under which a span matches; true for every span where the match asks nothing."""
    parts = []
    if match.kind is not None:
        parts.append(f"span.kind == SPAN_KIND_{match.kind.upper()}")
    if match.name is not None:
        parts.append(f"span.name == {string(match.name)}")
    for each in match.attributes:
        wanted = "!= nil" if each.value is None else f"== {value(each.value)}"
        parts.append(f"{attribute(each.key)} {wanted}")
    return " and ".join(parts) or "true"
