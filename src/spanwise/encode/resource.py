"""What a resource and an instrumentation scope put around their records, encoded once each.

``ResourceSpans``, ``ResourceMetrics`` and ``ResourceLogs`` have the same layout, and so have the scopes'
messages, so one encoding serves the three signals:
source https://github.com/open-telemetry/opentelemetry-proto, ``*/v1/*.proto``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from spanwise.encode.attributes import encode_attributes
from spanwise.encode.wire import nested, text

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

__all__ = ["MAX_REMEMBERED", "resource_frame", "scope_frame"]

# A process has one resource and a scope for each library it uses. Past this many objects, someone makes
# them anew all the time, and keeping them would be a leak.
MAX_REMEMBERED: Final = 256

_Key = TypeVar("_Key")


class _ByIdentity(Generic[_Key]):
    """A memo for immutable objects that are slow to hash and to compare, as the SDK's resources are."""

    __slots__ = ("_encode", "_entries")

    def __init__(self, encode: Callable[[_Key], tuple[bytes, bytes]]) -> None:
        self._encode = encode
        # The object is kept next to its encoding, so that its id cannot go to another one.
        self._entries: dict[int, tuple[_Key, tuple[bytes, bytes]]] = {}

    def __call__(self, key: _Key) -> tuple[bytes, bytes]:
        entry = self._entries.get(id(key))
        if entry is not None:
            return entry[1]
        encoded = self._encode(key)
        if len(self._entries) >= MAX_REMEMBERED:
            self._entries.clear()
        self._entries[id(key)] = (key, encoded)
        return encoded


def _encode_resource(resource: Resource | None) -> tuple[bytes, bytes]:
    if resource is None:
        return b"\x0a\x00", b""
    body = encode_attributes(b"\x0a", resource.attributes)
    return nested(b"\x0a", body), _text(b"\x1a", resource.schema_url)


def _encode_scope(scope: InstrumentationScope | None) -> tuple[bytes, bytes]:
    if scope is None:
        return b"\x0a\x00", b""
    attributes = encode_attributes(b"\x1a", scope.attributes)
    body = _text(b"\x0a", scope.name) + _text(b"\x12", scope.version) + attributes
    return nested(b"\x0a", body), _text(b"\x1a", scope.schema_url)


def _text(prefix: bytes, value: Any) -> bytes:
    """A name that is no text must not cost every span of its scope."""
    if value is None or isinstance(value, str):
        return text(prefix, value)
    try:
        return text(prefix, str(value))
    except Exception:
        return b""


resource_frame: Final[Callable[[Resource | None], tuple[bytes, bytes]]] = _ByIdentity(_encode_resource)
"""Of a resource: the field that opens its ``Resource…`` message and the ``schema_url`` that ends it."""

scope_frame: Final[Callable[[InstrumentationScope | None], tuple[bytes, bytes]]] = _ByIdentity(_encode_scope)
"""Of a scope: the field that opens its ``Scope…`` message and the ``schema_url`` that ends it."""
