"""The span rules as statements of the Collector's transform processor: the process's verdict, in OTTL."""

from __future__ import annotations

from spanwise import names
from spanwise.artefacts.ottl import DURATION, attribute, condition, seconds, string
from spanwise.rules.model import Rule, by_precedence

__all__ = ["statements"]

# Scratch space of one span, which is never exported.
_DECIDED = 'span.cache["rule"]'


def statements(rules: tuple[Rule, ...]) -> list[str]:
    """First each span finds its rule, the most specific one first; then that rule alone rates it.

    Two passes, because a span that is good by a specific rule must not be rated by a broader one.
    A span that carries a rating keeps it: its process rated it.
    """
    unrated = f"{attribute(names.RATING)} == nil"
    deciding, rating = [], []
    for number, rule in enumerate(by_precedence(rules)):
        anyone = " or ".join(f"({condition(match)})" for match in rule.matches)
        deciding.append(f"set({_DECIDED}, {number}) where {_DECIDED} == nil and {unrated} and ({anyone})")
        for rated, limit in rule.edges:
            beyond = f"{_DECIDED} == {number} and {unrated} and {DURATION} > {limit}"
            # The rating last: it ends the condition that the other two need.
            rating += [
                f"set({attribute(names.RATING_RULE)}, {string(rule.name)}) where {beyond}",
                f"set({attribute(names.RATING_LIMIT)}, {seconds(limit)}) where {beyond}",
                f"set({attribute(names.RATING)}, {string(rated)}) where {beyond}",
            ]
    return deciding + rating
