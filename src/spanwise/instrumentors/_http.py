"""What spans of HTTP servers and of HTTP clients have in common.

Names: https://opentelemetry.io/docs/specs/semconv/http/http-spans/
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry.util.types import AttributeValue

__all__ = [
    "DEFAULT_PORTS",
    "METHODS",
    "OTHER_METHOD",
    "Attributes",
    "Headers",
    "captured_headers",
    "excluded_urls",
    "length_of",
]

Attributes = dict[str, AttributeValue]
Headers = Iterable[tuple[str, str]]

# Those that the conventions know: of RFC 9110, PATCH and QUERY. Any other is _OTHER, lest a scanner makes
# a metric for each word.
METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY")
)
OTHER_METHOD: Final = "_OTHER"
DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def excluded_urls(library: str, given: str | None = None) -> Callable[[str], bool] | None:
    """Tells whether a URL is not to be observed; None where none are excluded.

    Args:
        library: as in ``OTEL_PYTHON_<LIBRARY>_EXCLUDED_URLS``; else ``OTEL_PYTHON_EXCLUDED_URLS`` holds.
        given: patterns separated by commas, instead of these variables.
    """
    variables = (f"OTEL_PYTHON_{library.upper()}_EXCLUDED_URLS", "OTEL_PYTHON_EXCLUDED_URLS")
    if given is None and not any(os.environ.get(name) for name in variables):
        return None
    # Imported where somebody excludes something: it brings the whole of the semantic conventions.
    from opentelemetry.util.http import get_excluded_urls, parse_excluded_urls

    found = get_excluded_urls(library.upper()) if given is None else parse_excluded_urls(given)
    disabled: Callable[[str], bool] = found.url_disabled
    return disabled


def length_of(given: object) -> int | None:
    """Bytes of a body by its Content-Length; None where that is no number: whoever sends it may err."""
    if isinstance(given, int):
        return given
    # More digits than any body has would not be a number of the metric's either.
    if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) < 19:
        return int(given)
    return None


def captured_headers(side: str, which: str) -> Callable[[Headers], Attributes] | None:
    """Reads the headers that the standard variables name into attributes; None where they name none.

    Args:
        side: ``SERVER`` or ``CLIENT``.
        which: ``REQUEST`` or ``RESPONSE``.
    """
    variable = f"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_{side}_{which}"
    if not os.environ.get(variable):
        return None
    from opentelemetry.util.http import (
        OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS,
        SanitizeValue,
        get_custom_headers,
        normalise_request_header_name,
        normalise_response_header_name,
    )

    wanted = get_custom_headers(variable)
    sanitize = SanitizeValue(get_custom_headers(OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS))
    name = normalise_request_header_name if which == "REQUEST" else normalise_response_header_name

    def capture(headers: Headers) -> Attributes:
        values: dict[str, str] = {}
        for key, value in headers:
            lower = key.lower()
            values[lower] = f"{values[lower]},{value}" if lower in values else value
        return dict(sanitize.sanitize_header_values(values, wanted, name))

    return capture
