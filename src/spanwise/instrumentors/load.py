"""Loads every instrumentor: ours where there is one, else contrib's or anybody's.

One that fails, or that does not go with the installed version of its library, costs one warning
and stops neither the application nor the others. One whose library is not imported yet waits for that:
importing the library on the application's behalf would cost start-up time and memory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from spanwise import pending
from spanwise.installed import entry_points
from spanwise.instrumentors._imports import is_being_imported, when_imported
from spanwise.instrumentors.table import INSTRUMENTORS, LIGHT, STABLE_ONLY, TRIGGERS
from spanwise.log import Log
from spanwise.settings import Settings

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from spanwise.installed import Entry

__all__ = ["ALL", "Outcome", "load"]

_logger = Log("spanwise.instrumentors")

GROUP = "opentelemetry_instrumentor"
_LOGGING = "logging"  # attached when telemetry starts, which its first record has it do
ALL = "*"
OURS = "spanwise"  # the entry point through which other launchers load all of this


class Outcome(NamedTuple):
    """What became of one instrumentation.

    Attributes:
        name: its entry point's name, as in the allow- and deny-list.
        state: ``instrumented``, ``waiting`` (for its library to be imported), ``skipped`` (a setting says
            so), ``absent`` (its library is not installed) or ``failed``.
        detail: by whom it is instrumented, or why not.
    """

    name: str
    state: str
    detail: str = ""


Options = Callable[[str], Mapping[str, Any]]


def load(settings: Settings, options: Options = lambda _: {}) -> list[Outcome]:
    """Instruments every installed library that has an instrumentor and that the settings allow.

    Args:
        settings: allow-list, deny-list, and where contrib's are preferred to ours. With a start-up
            report, those that wait are checked against the installed versions at once.
        options: tells the keyword arguments of an instrumentation's ``instrument()``, when it is called.

    Returns:
        One outcome an instrumentation, by name. Never raises.
    """
    found: dict[str, Entry | EntryPoint] = {}
    for entry in entry_points(GROUP):
        found.setdefault(entry.name, entry)
    found.pop(OURS, None)
    outcomes = []
    for name in sorted({*found, *INSTRUMENTORS}):
        outcome = _refused(name, settings)
        if outcome is None:
            candidate = _candidate(name, found.get(name), settings)
            outcome = _begin(candidate, settings, options)
        outcomes.append(outcome)
        _warn_of(outcome)
    _warn_of_unknown(settings, {*found, *INSTRUMENTORS})
    return outcomes


def _warn_of_unknown(settings: Settings, known: set[str]) -> None:
    """Names of no instrumentation. Of a deny-list, which may be for many hosts, those nearly another's."""
    for variable, names, always in (
        ("SPANWISE_ENABLED_INSTRUMENTATIONS", settings.enabled_instrumentations, True),
        ("SPANWISE_CONTRIB_INSTRUMENTATIONS", settings.contrib_instrumentations, True),
        ("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", settings.disabled_instrumentations, False),
    ):
        for name in names:
            if name in known or name == ALL:
                continue
            from difflib import get_close_matches

            close = get_close_matches(name.lower(), known, n=1, cutoff=0.6 if always else 0.85)
            if close or always:
                _logger.warning(
                    "%s names %r, which is no instrumentation here. %s",
                    variable,
                    name,
                    f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(sorted(known))}",
                )


def _warn_of(outcome: Outcome) -> None:
    if outcome.state == "failed":
        _logger.warning(
            "%s is not instrumented: %s. The application goes on; to silence this, add %s to "
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
            outcome.name,
            outcome.detail,
            outcome.name,
        )


def _refused(name: str, settings: Settings) -> Outcome | None:
    denied = settings.disabled_instrumentations
    if name in denied or ALL in denied:
        return Outcome(name, "skipped", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS names it")
    allowed = settings.enabled_instrumentations
    if allowed and name not in allowed:
        return Outcome(name, "skipped", "SPANWISE_ENABLED_INSTRUMENTATIONS does not name it")
    return None


class _Candidate(NamedTuple):
    """An instrumentor that may be used.

    Attributes:
        name: its entry point's name.
        conflict: tells, as an outcome, why it does not go with what is installed; None where it does.
        module: where it is.
        make: imports it and makes one.
        by: whose it is.
        ours: whether it is this package's.
    """

    name: str
    conflict: Callable[[], Outcome | None]
    module: str
    make: Callable[[], Any]
    by: Callable[[], str]
    ours: bool = False


def _candidate(name: str, entry: Entry | EntryPoint | None, settings: Settings) -> _Candidate:
    if name in INSTRUMENTORS and name not in settings.contrib_instrumentations and _speaks(name):
        return _ours(name)
    if entry is None:
        absent = Outcome(name, "absent", "no contrib instrumentor is installed")
        return _Candidate(name, lambda: absent, "", lambda: None, lambda: "")
    return _theirs(name, entry)


def _speaks(name: str) -> bool:
    """Whether our instrumentor writes the names that OTEL_SEMCONV_STABILITY_OPT_IN asks for."""
    asked = {part.strip() for part in os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "").split(",")}
    part = STABLE_ONLY.get(name)
    return part is None or asked == {""} or (part in asked and f"{part}/dup" not in asked)


def _ours(name: str) -> _Candidate:
    def make() -> Any:
        module, _, attribute = INSTRUMENTORS[name].partition(":")
        return getattr(import_module(module), attribute)()

    def conflict() -> Outcome | None:
        found = make().conflict()
        if found is None:
            return None
        return Outcome(name, "failed", found) if found else Outcome(name, "absent", "it is not installed")

    return _Candidate(name, conflict, INSTRUMENTORS[name].partition(":")[0], make, lambda: "spanwise", True)


def _theirs(name: str, entry: Entry | EntryPoint) -> _Candidate:
    def conflict() -> Outcome | None:
        from opentelemetry.instrumentation.dependencies import get_dist_dependency_conflicts

        found = get_dist_dependency_conflicts(entry.dist) if entry.dist is not None else None
        return _conflicting(name, found) if found is not None else None

    def by() -> str:
        return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value

    return _Candidate(name, conflict, entry.module, lambda: entry.load()(), by)


def _begin(candidate: _Candidate, settings: Settings, options: Options) -> Outcome:
    """Attaches it now, or has it attached when its library is imported."""
    trigger = TRIGGERS.get(candidate.name)
    if candidate.name == _LOGGING and candidate.ours and pending.waits():
        from spanwise.instrumentors import _first_record

        _first_record.watch()
        pending.then(lambda: _warn_of(_attach(candidate, options)))
        return Outcome(candidate.name, "waiting")
    if trigger is None or trigger in sys.modules:
        return _attach(candidate, options)

    def attach(_module: Any) -> None:
        # The instrumentor's own module may be what imports the library, and not be done yet.
        if is_being_imported(sys.modules.get(candidate.module)):
            when_imported(candidate.module, lambda _: _warn_of(_attach(candidate, options)))
        else:
            _warn_of(_attach(candidate, options))

    if not settings.startup_report:
        when_imported(trigger, attach)
        return Outcome(candidate.name, "waiting")
    if find_spec(trigger.partition(".")[0]) is None:
        return Outcome(candidate.name, "absent", f"{trigger} is not installed")
    outcome = _guarded(candidate.name, candidate.conflict)
    if outcome is None:
        when_imported(trigger, attach)
        outcome = Outcome(candidate.name, "waiting", f"by {candidate.by()}")
    return outcome


def _attach(candidate: _Candidate, options: Options) -> Outcome:
    """Instruments the library now. Never raises: it runs inside the application's import statements."""

    if not candidate.ours or candidate.name not in LIGHT:
        pending.now()

    def attach() -> Outcome | None:
        conflict = candidate.conflict()
        if conflict is None:
            instrumentor = candidate.make()
            if not getattr(instrumentor, "is_instrumented_by_opentelemetry", False):
                # The check against the installed versions has just been made.
                instrumentor.instrument(skip_dep_check=True, **options(candidate.name))
        return conflict

    return _guarded(candidate.name, attach) or Outcome(candidate.name, "instrumented", f"by {candidate.by()}")


def _guarded(name: str, call: Callable[[], Outcome | None]) -> Outcome | None:
    try:
        return call()
    except Exception as error:
        _logger.debug("instrumenting %s failed", name, exc_info=True)
        return Outcome(name, "failed", f"{type(error).__name__}: {error}")


def _conflicting(name: str, conflict: Any) -> Outcome:
    # A requirement reads 'flask>=1.0; extra == "instruments"': the extra is packaging's affair.
    requirements = (conflict.required,) if conflict.required else (conflict.required_any or ())
    wanted = ", ".join(str(requirement).partition(";")[0].strip() for requirement in requirements)
    present = conflict.found or ", ".join(map(str, conflict.found_any or ()))
    if not present:
        return Outcome(name, "absent", f"{wanted} is not installed")
    return Outcome(name, "failed", f"its instrumentor needs {wanted}, installed is {present}")
