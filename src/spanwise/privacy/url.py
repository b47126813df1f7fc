"""Secrets in a URL, out of it: signatures, tokens and passwords in its query, and who logs in.

The conventions name the keys of signatures and ask for the rest to be scrubbed where it can be told:
https://opentelemetry.io/docs/specs/semconv/registry/attributes/url/
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["redact_query", "redact_text", "redact_url"]

_REDACTED: Final = "REDACTED"
# First the conventions' own, as they are written; then what a client puts into a URL to be let in.
_KEYS: Final = (
    r"AWSAccessKeyId|Signature|sig|X-Goog-Signature"
    r"|X-Amz-(?:Signature|Credential|Security-Token)|X-Goog-Credential"
    r"|access_token|refresh_token|id_token|token|api_?key|apikey|client_secret|secret|password|passwd"
)
_SECRET: Final = re.compile(rf"(?:(?<=^)|(?<=&))({_KEYS})=[^&#]*")
# Within a message, a URL ends where a quote, a bracket or white space is.
_SECRET_IN_TEXT: Final = re.compile(rf"(?<=[?&])({_KEYS})=[^&#\s'\"<>()]*")
_LOGIN: Final = re.compile(r"(?<=://)[^/?#@\s'\"<>]*(?:@[^/?#@\s'\"<>]*)*(?=@)")


def redact_query(query: str) -> str:
    """A query string whose secrets say ``REDACTED``; all else, order included, is as it was."""
    # Most have none, and to find that out takes a third of what replacing does.
    return _SECRET.sub(rf"\1={_REDACTED}", query) if _SECRET.search(query) else query


def redact_url(url: str) -> str:
    """A URL whose secrets, and whose user and password, say ``REDACTED``."""
    head, question, query = url.partition("?")
    if "@" in head:
        head = _LOGIN.sub(f"{_REDACTED}:{_REDACTED}", head)
    return f"{head}?{redact_query(query)}" if question else head


def redact_text(text: str) -> str:
    """A text, such as an exception's message, in whose URLs the secrets say ``REDACTED``."""
    if "@" in text:
        text = _LOGIN.sub(f"{_REDACTED}:{_REDACTED}", text)
    return _SECRET_IN_TEXT.sub(rf"\1={_REDACTED}", text) if "=" in text else text
