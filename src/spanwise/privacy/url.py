"""Secrets in a URL's query, out of it.

The keys are those the conventions name for signatures:
https://opentelemetry.io/docs/specs/semconv/registry/attributes/url/
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["redact_query"]

_REDACTED: Final = "REDACTED"
_SECRET: Final = re.compile(r"(?:(?<=^)|(?<=&))(AWSAccessKeyId|Signature|sig|X-Goog-Signature)=[^&]*")


def redact_query(query: str) -> str:
    """A query string whose signatures say ``REDACTED``; all else, order included, is as it was."""
    return _SECRET.sub(rf"\1={_REDACTED}", query) if "sig" in query.lower() or "AWS" in query else query
