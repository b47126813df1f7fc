"""Parts of the SDK that an environment variable names and an installed package provides."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from spanwise.installed import entry_points
from spanwise.log import Log

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import Sampler

__all__ = ["id_generator", "propagators", "sampler"]

_logger = Log("spanwise")

# Of the API itself: nobody has to look whether they are installed.
_BUILT_IN_PROPAGATORS = frozenset({"tracecontext", "baggage", "none"})

# They have names in the API and the SDK too, whose import `propagators` must not cost.
OTEL_PROPAGATORS = "OTEL_PROPAGATORS"
OTEL_PYTHON_ID_GENERATOR = "OTEL_PYTHON_ID_GENERATOR"
OTEL_TRACES_SAMPLER = "OTEL_TRACES_SAMPLER"
OTEL_TRACES_SAMPLER_ARG = "OTEL_TRACES_SAMPLER_ARG"


def sampler() -> Sampler | None:
    """The sampler of an installed package that ``OTEL_TRACES_SAMPLER`` names; None for the SDK's own."""
    name = os.environ.get(OTEL_TRACES_SAMPLER, "").strip()
    if not name:
        return None
    from spanwise.environment import SAMPLERS  # not above: a process without telemetry wants propagators only

    if name.lower() in SAMPLERS:
        return None
    from opentelemetry.sdk.trace.sampling import Sampler

    factory = _load("opentelemetry_traces_sampler", name, OTEL_TRACES_SAMPLER)
    try:
        made = factory(os.environ.get(OTEL_TRACES_SAMPLER_ARG)) if factory else None
    except Exception as error:
        _logger.warning("sampler %r failed (%s); the default one is used", name, error)
        return None
    return made if isinstance(made, Sampler) else None


def id_generator() -> IdGenerator | None:
    """The id generator that ``OTEL_PYTHON_ID_GENERATOR`` names; None for the SDK's random one."""
    name = os.environ.get(OTEL_PYTHON_ID_GENERATOR, "").strip()
    if not name or name == "random":
        return None
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    cls = _load("opentelemetry_id_generator", name, OTEL_PYTHON_ID_GENERATOR)
    return cls() if isinstance(cls, type) and issubclass(cls, IdGenerator) else None


def propagators() -> list[str]:
    """Leaves out of ``OTEL_PROPAGATORS`` what is not installed.

    The API raises where it is imported for one that it does not find: nothing that propagates could be
    observed then.

    Returns:
        The modules of those that are not the API's own.
    """
    asked = [name.strip() for name in os.environ.get(OTEL_PROPAGATORS, "").split(",") if name.strip()]
    if _BUILT_IN_PROPAGATORS.issuperset(asked) or "opentelemetry.propagate" in sys.modules:
        return []
    found = {entry.name: entry.module for entry in entry_points("opentelemetry_propagator")}
    known = {*found, "none"}
    missing = [name for name in asked if name.lower() not in known and name not in known]
    if missing:
        left = [name for name in asked if name not in missing] or ["tracecontext", "baggage"]
        _logger.warning(
            "no propagator %s is installed (%s); using %s. Installed: %s",
            ", ".join(map(repr, missing)),
            OTEL_PROPAGATORS,
            ", ".join(left),
            ", ".join(sorted(known)),
        )
        os.environ[OTEL_PROPAGATORS] = ",".join(left)
    return [found[name] for name in asked if name in found]


def _load(group: str, name: str, variable: str) -> Any:
    found = {entry.name: entry for entry in entry_points(group)}
    if name not in found:
        _logger.warning(
            "%r is not installed (%s); the default is used. Installed: %s",
            name,
            variable,
            ", ".join(sorted(found)) or "none",
        )
        return None
    try:
        return found[name].load()
    except Exception as error:
        _logger.warning("%r cannot be loaded (%s): %s; the default is used", name, variable, error)
        return None
