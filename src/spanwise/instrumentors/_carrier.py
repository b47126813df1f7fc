"""Contexts that come with a WSGI request and go with its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.instrumentation import propagators
from opentelemetry.propagate import extract, get_global_textmap
from opentelemetry.propagators.textmap import Getter

from spanwise.instrumentors._wsgi import headers_of

__all__ = ["Incoming", "tell"]

_W3C: Final = frozenset(("traceparent", "tracestate", "baggage"))


class Incoming:
    """Finds the caller's context in requests."""

    def __init__(self) -> None:
        self._textmap: Any = None
        self._variables: tuple[str, ...] | None = None

    def context(self, environ: Mapping[str, Any], current: Context) -> Context:
        """The current context with what the request brings along.

        Args:
            environ: the request (PEP 3333).
            current: the current context.
        """
        # To find out that there is nothing to extract takes the W3C propagators 5 µs. Others may read more
        # than the fields that they name. The application may set another propagator at any time.
        textmap = get_global_textmap()
        if textmap is not self._textmap:
            self._textmap = textmap
            self._variables = tuple(map(_variable, textmap.fields)) if textmap.fields <= _W3C else None
        if self._variables is None:
            return extract(environ, current, _GETTER)
        for name in self._variables:
            if name in environ:
                return extract(environ, current, _GETTER)
        return current


def tell(headers: list[tuple[str, str]], context: Context) -> None:
    """Puts into an answer's headers what the global response propagator wants the caller to know."""
    propagator = propagators.get_global_response_propagator()  # type: ignore[no-untyped-call]
    if propagator is not None:
        propagator.inject(headers, context=context, setter=_Append)


class _FromEnviron(Getter[Mapping[str, Any]]):
    def get(self, carrier: Mapping[str, Any], key: str) -> list[str] | None:
        value = carrier.get(_variable(key))
        return None if value is None else [value]

    def keys(self, carrier: Mapping[str, Any]) -> list[str]:
        return [name for name, _ in headers_of(carrier)]


_GETTER: Final = _FromEnviron()


class _Append:
    @staticmethod
    def set(carrier: list[tuple[str, str]], key: str, value: str) -> None:
        carrier.append((key, value))


def _variable(field: str) -> str:
    return "HTTP_" + field.upper().replace("-", "_")
