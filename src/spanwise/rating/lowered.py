"""The neutral rules as what the process rates spans with."""

from __future__ import annotations

from spanwise.rating.verdict import Candidate, Verdict, VerdictFunction, verdicts
from spanwise.rules.model import Rule, by_precedence

__all__ = ["candidates", "compile_rules"]

_NANOSECONDS = 1_000_000_000


def compile_rules(rules: tuple[Rule, ...]) -> VerdictFunction:
    """The function that rates spans by these rules; those on other things are passed over.

    Args:
        rules: as :func:`spanwise.thresholds.load.lower` gives them.
    """
    return verdicts(candidates(rules))


def candidates(rules: tuple[Rule, ...]) -> tuple[Candidate, ...]:
    """Every match of every span rule, in the order of precedence."""
    found: list[Candidate] = []
    for rule in by_precedence(rules):
        edges = tuple((edge, Verdict(rating, rule.name, edge / _NANOSECONDS)) for rating, edge in rule.edges)
        for match in rule.matches:
            wanted = tuple((each.key, each.value) for each in match.attributes)
            found.append(Candidate(len(found), match.kind, match.name, wanted, edges))
    return tuple(found)
