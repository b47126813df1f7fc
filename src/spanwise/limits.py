"""The thresholds that hold in this process."""

from __future__ import annotations

from typing import Any

from spanwise import names, sources
from spanwise.alerts.slow import SlowOperations
from spanwise.errors import ThresholdsError
from spanwise.launched import Launch
from spanwise.log import Log
from spanwise.rating import shipped
from spanwise.rating.verdict import Candidate, critical_beyond, verdicts

__all__ = ["read", "settle", "use_shipped"]

_logger = Log("spanwise")

# The thresholds' rule whose critical limit makes a SQL statement slow. The Collector counts by the same one.
DATABASE_RULE = "db.client"


def read(launched: Launch, arguments: dict[str, Any]) -> None:
    """Has the thresholds hold that the settings name: a file's, or those shipped.

    Args:
        launched: whose settings say which; the file may hold settings itself.
        arguments: settings given in code, which win over the file's.

    Raises:
        SpanwiseError: the file cannot be used.
    """
    loaded = launched.settings
    given = sources.thresholds_file(loaded)
    if given is None and not loaded.profile:
        use_shipped(launched)
        return
    from spanwise.rating.edges import edges
    from spanwise.rating.lowered import candidates
    from spanwise.rules.model import History
    from spanwise.thresholds import load as file

    try:
        thresholds = file.load(given, loaded.profile)
    except ThresholdsError as error:
        if loaded.profile is None:
            raise
        thresholds = file.load(given)  # raises where it is not for the profile
        _logger.warning("the profile %r cannot be used (SPANWISE_PROFILE): %s", loaded.profile, error)
    if thresholds.settings:
        launched.settings = sources.load(arguments, file=thresholds.settings)
    rules = file.lower(thresholds)
    _rate_by(launched, candidates(rules))
    launched.edges = edges(rules)
    history = next(rule for rule in rules if isinstance(rule, History))
    launched.history = {"interval": history.interval, "samples": history.samples}
    launched.rules = lambda: rules
    launched.describe = lambda: file.summary(thresholds)


def settle(launched: Launch) -> None:
    """Has the shipped thresholds hold, unless others do."""
    if launched.verdict is None:
        use_shipped(launched)


def use_shipped(launched: Launch) -> None:
    """Has the shipped thresholds hold."""

    def describe() -> list[str]:
        from spanwise.thresholds import load as file

        return file.summary(file.load())

    _rate_by(launched, shipped.CANDIDATES)
    launched.edges = shipped.EDGES
    launched.history = shipped.HISTORY
    launched.rules = _shipped_rules
    launched.describe = describe


def _shipped_rules() -> tuple[Any, ...]:
    # Here, not above: on the sampler's thread, when the application has started.
    from spanwise.alerts.shipped import RULES

    return RULES


def _rate_by(launched: Launch, rules: tuple[Candidate, ...]) -> None:
    """Spans, and what the instrumentors call slow, by the same rules."""
    launched.verdict = verdicts(rules)
    limit = critical_beyond(rules, DATABASE_RULE)
    launched.options["sqlalchemy"] = {"slow_statement": limit}

    def logged_there(scope: str, seconds: float) -> bool:
        return scope == names.SCOPE_SQLALCHEMY and limit is not None and seconds > limit

    launched.slow = SlowOperations(logged_there)
    launched.verdict.told = launched.slow.take  # type: ignore[attr-defined]
