"""Loads every instrumentor: ours where there is one, else contrib's or anybody's.

One that fails, or that does not go with the installed version of its library, costs one warning
and stops neither the application nor the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from opentelemetry.instrumentation.dependencies import (
    DependencyConflict,
    get_dependency_conflicts,
    get_dist_dependency_conflicts,
)

from spanwise.instrumentors.table import INSTRUMENTORS
from spanwise.settings import Settings

__all__ = ["Outcome", "load"]

_logger = logging.getLogger("spanwise.instrumentors")

GROUP = "opentelemetry_instrumentor"
ALL = "*"
OURS = "spanwise"  # the entry point through which other launchers load all of this


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one instrumentation.

    Attributes:
        name: its entry point's name, as in the allow- and deny-list.
        state: ``instrumented``, ``skipped`` (a setting says so), ``absent`` (its library is not
            installed) or ``failed``.
        detail: by whom it is instrumented, or why not.
    """

    name: str
    state: str
    detail: str = ""


def load(settings: Settings, options: Mapping[str, Mapping[str, Any]] | None = None) -> list[Outcome]:
    """Instruments every installed library that has an instrumentor and that the settings allow.

    Args:
        settings: allow-list, deny-list, and where contrib's are preferred to ours.
        options: keyword arguments of ``instrument()`` by instrumentation.

    Returns:
        One outcome an instrumentation, by name. Never raises.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        found.setdefault(entry.name, entry)
    found.pop(OURS, None)
    outcomes = []
    for name in sorted({*found, *INSTRUMENTORS}):
        outcome = _refused(name, settings) or _load(
            name, found.get(name), settings, (options or {}).get(name, {})
        )
        outcomes.append(outcome)
        if outcome.state == "failed":
            _logger.warning(
                "%s is not instrumented: %s. The application goes on; to silence this, add %s to "
                "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
                name,
                outcome.detail,
                name,
            )
    known = {*found, *INSTRUMENTORS}
    for name in settings.enabled_instrumentations:
        if name not in known:
            _logger.warning("SPANWISE_ENABLED_INSTRUMENTATIONS names %r, which is not installed", name)
    return outcomes


def _refused(name: str, settings: Settings) -> Outcome | None:
    denied = settings.disabled_instrumentations
    if name in denied or ALL in denied:
        return Outcome(name, "skipped", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS names it")
    allowed = settings.enabled_instrumentations
    if allowed and name not in allowed:
        return Outcome(name, "skipped", "SPANWISE_ENABLED_INSTRUMENTATIONS does not name it")
    return None


def _load(name: str, entry: EntryPoint | None, settings: Settings, options: Mapping[str, Any]) -> Outcome:
    try:
        if name in INSTRUMENTORS and name not in settings.contrib_instrumentations:
            return _load_ours(name, options)
        if entry is None:
            return Outcome(name, "absent", "no contrib instrumentor is installed")
        conflict = get_dist_dependency_conflicts(entry.dist) if entry.dist is not None else None
        if conflict is not None:
            return _conflicting(name, conflict)
        by = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value
        _instrument(entry.load, options)
    except Exception as error:
        _logger.debug("instrumenting %s failed", name, exc_info=True)
        return Outcome(name, "failed", f"{type(error).__name__}: {error}")
    return Outcome(name, "instrumented", f"by {by}")


def _load_ours(name: str, options: Mapping[str, Any]) -> Outcome:
    module, _, attribute = INSTRUMENTORS[name].partition(":")
    cls = getattr(import_module(module), attribute)
    conflict = get_dependency_conflicts(cls().instrumentation_dependencies())
    if conflict is not None:
        return _conflicting(name, conflict)
    _instrument(lambda: cls, options)
    return Outcome(name, "instrumented", "by spanwise")


def _instrument(load: Callable[[], Any], options: Mapping[str, Any]) -> None:
    instrumentor = load()()
    if not getattr(instrumentor, "is_instrumented_by_opentelemetry", False):
        # The check against the installed versions has just been made.
        instrumentor.instrument(skip_dep_check=True, **options)


def _conflicting(name: str, conflict: DependencyConflict) -> Outcome:
    # A requirement reads 'flask>=1.0; extra == "instruments"': the extra is packaging's affair.
    requirements = (conflict.required,) if conflict.required else (conflict.required_any or ())
    wanted = ", ".join(str(requirement).partition(";")[0].strip() for requirement in requirements)
    present = conflict.found or ", ".join(map(str, conflict.found_any or ()))
    if not present:
        return Outcome(name, "absent", f"{wanted} is not installed")
    return Outcome(name, "failed", f"its instrumentor needs {wanted}, installed is {present}")
