"""Secrets in a URL, out of it: signatures, tokens and passwords in its query, and who logs in.

The conventions name the keys of signatures and ask for the rest to be scrubbed where it can be told:
https://opentelemetry.io/docs/specs/semconv/registry/attributes/url/
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_plus

__all__ = ["redact_query", "redact_text", "redact_url"]

_REDACTED: Final = "REDACTED"
# First the conventions' own; then what a client puts into a URL to be let in, and what a login hands on.
# Case and the separator within a key differ from service to service: apiKey, API_KEY, x-api-key.
_KEYS: Final = (
    r"AWSAccessKeyId|(?:X-(?:Amz|Goog)-)?(?:Signature|Credential|Security-Token)|sig"
    r"|(?:access|refresh|id|auth|csrf|session|security|user|bearer|private)?[_-]?token"
    r"|(?:x[_-])?(?:api|access|secret|private|subscription|account|shared)?[_-]?key(?:[_-]?id)?"
    r"|(?:client|app|api|shared)?[_-]?secret(?:[_-]?key)?"
    r"|password|passwd|pwd|pass(?:phrase|code)?|credentials?|code|otp"
    r"|auth|authorization|jwt|saml(?:request|response)|assertion|session(?:[_-]?id)?|sid|phpsessid|jsessionid"
)
# Keys may be percent-encoded: a name that has a "%" is decoded before it is compared.
_PAIR: Final = re.compile(r"(?:(?<=^)|(?<=[&;]))([^&;=#]*)=[^&;#]*")
_KEY: Final = re.compile(_KEYS, re.IGNORECASE)
# Most queries have no secret, and to find that out takes a third of what replacing does.
_SECRET: Final = re.compile(rf"(?:^|[&;])(?:(?:{_KEYS})|[^&;=#]*%[^&;=#]*)=", re.IGNORECASE)
# Within a message, a URL ends where a quote, a bracket or white space is.
_PAIR_IN_TEXT: Final = re.compile(
    rf"(?<=[?&;#])((?:{_KEYS})|[^&;=#?\s'\"<>()]*%[^&;=#?\s'\"<>()]*)=[^&;#\s'\"<>()]*", re.IGNORECASE
)
_LOGIN: Final = re.compile(r"(?:(?<=://)|(?<=^//))[^/?#@\s'\"<>]*(?:@[^/?#@\s'\"<>]*)*(?=@)")


def redact_query(query: str) -> str:
    """A query string whose secrets say ``REDACTED``; all else, order included, is as it was."""
    return _PAIR.sub(_without_value, query) if _SECRET.search(query) else query


def redact_url(url: str) -> str:
    """A URL whose secrets, and whose user and password, say ``REDACTED``.

    Its fragment is left out: it is never sent, and a login's answer has the token in it.
    """
    head, question, query = url.partition("#")[0].partition("?")
    if "@" in head:
        head = _LOGIN.sub(f"{_REDACTED}:{_REDACTED}", head)
    return f"{head}?{redact_query(query)}" if question else head


def redact_text(text: str) -> str:
    """A text, such as an exception's message, in whose URLs the secrets say ``REDACTED``."""
    if "@" in text:
        text = _LOGIN.sub(f"{_REDACTED}:{_REDACTED}", text)
    return _PAIR_IN_TEXT.sub(_without_value, text) if "=" in text else text


def _without_value(pair: re.Match[str]) -> str:
    name = pair[1]
    secret = _KEY.fullmatch(unquote_plus(name) if "%" in name else name)
    return f"{name}={_REDACTED}" if secret else pair[0]
