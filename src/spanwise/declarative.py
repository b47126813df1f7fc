"""The specification's declarative configuration, by the opentelemetry-configuration package.

https://opentelemetry.io/docs/specs/otel/configuration/#declarative-configuration
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from opentelemetry.context import Context, get_current
from opentelemetry.propagate import get_global_textmap, set_global_textmap
from opentelemetry.propagators import textmap

from spanwise.errors import ConfigurationError, MissingExtraError

__all__ = ["Declared", "apply"]


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
