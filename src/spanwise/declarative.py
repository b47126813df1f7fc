"""The specification's declarative configuration, by the opentelemetry-configuration package.

https://opentelemetry.io/docs/specs/otel/configuration/#declarative-configuration
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from opentelemetry.context import Context, get_current
from opentelemetry.propagate import get_global_textmap, set_global_textmap
from opentelemetry.propagators import textmap

from spanwise import values
from spanwise.errors import ConfigurationError, MissingExtraError
from spanwise.log import Log

__all__ = ["Declared", "apply"]

_logger = Log("spanwise")


@dataclass(frozen=True)
class Declared:
    """What the file says about instrumentation.

    Attributes:
        disabled: the whole SDK is switched off (``disabled: true``).
        denied: instrumentations with ``enabled: false``.
        options: keyword arguments of ``instrument()``, by instrumentation.
    """

    disabled: bool = False
    denied: tuple[str, ...] = ()
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class _NoPropagation(textmap.TextMapPropagator):
    """Reads and writes no headers, as the specification has it for a file without propagators."""

    def extract(
        self,
        carrier: textmap.CarrierT,
        context: Context | None = None,
        getter: textmap.Getter[textmap.CarrierT] = textmap.default_getter,
    ) -> Context:
        return get_current() if context is None else context

    def inject(
        self,
        carrier: textmap.CarrierT,
        context: Context | None = None,
        setter: textmap.Setter[textmap.CarrierT] = textmap.default_setter,
    ) -> None:
        return None

    @property
    def fields(self) -> set[str]:
        return set()


def apply(path: str) -> Declared:
    """Configures the SDK from the file, and tells what it says about instrumentation.

    The instrumentors themselves are left to our loader, so that one that fails stops nothing and
    ours are used where the file names their library.

    Raises:
        MissingExtraError: opentelemetry-configuration is not installed.
        ConfigurationError: the file cannot be used.
    """
    try:
        from opentelemetry.configuration import configure_sdk, load_config_file
    except ImportError:
        raise MissingExtraError("config-file", "OTEL_CONFIG_FILE") from None
    try:
        configuration = load_config_file(path)
        for problem in _without_bad_headers(configuration):
            _logger.warning("%s (OTEL_CONFIG_FILE=%s). It is left out", problem, path)
        python = getattr(configuration.instrumentation_development, "python", None) or {}
        options = {name: dict(given or {}) for name, given in python.items()}
        denied = tuple(name for name, given in options.items() if not given.pop("enabled", True))
        configure_sdk(replace(configuration, instrumentation_development=None))
        if get_global_textmap().extract({}) is None:
            # What a file without propagators is made into: it hands instrumentors None for a context,
            # and every request of the application fails on it.
            set_global_textmap(_NoPropagation())
    except Exception as error:
        raise ConfigurationError(
            f"the configuration file cannot be used: {error}",
            where=f"OTEL_CONFIG_FILE={path}",
            fix="Correct the file, or unset the variable",
        ) from error
    return Declared(bool(configuration.disabled), denied, options)


def _without_bad_headers(node: Any) -> Iterator[str]:
    """Takes the headers out of a configuration that no request can carry, and says which they are.

    The exporters would fail on each request for one of them.
    """
    if isinstance(node, list):
        for each in node:
            yield from _without_bad_headers(each)
    if not is_dataclass(node):
        return
    for name in (each.name for each in fields(node)):
        value = getattr(node, name)
        kept: Any
        if name == "headers" and isinstance(value, list):
            pairs = [_pair(each) for each in value]
            kept = [each for each, pair in zip(value, pairs, strict=True) if not _problem([pair])]
        elif name == "headers_list" and isinstance(value, str):
            # Not percent-encoded, unlike the variable.
            parts = values.names(value)
            pairs = [_split(part) for part in parts]
            kept = ",".join(part for part, pair in zip(parts, pairs, strict=True) if not _problem([pair]))
        else:
            yield from _without_bad_headers(value)
            continue
        problem = _problem(pairs)
        if problem:
            setattr(node, name, kept or None)
            yield problem


def _pair(header: Any) -> tuple[object, object]:
    if isinstance(header, dict):
        return header.get("name"), header.get("value") or ""
    return header.name, header.value or ""


def _split(part: str) -> tuple[str, str | None]:
    key, separator, value = part.partition("=")
    return key.strip(), value.strip() if separator else None


def _problem(pairs: list[tuple[Any, Any]]) -> str:
    try:
        values.headers(pairs)
    except ValueError as error:
        return str(error)
    return ""
