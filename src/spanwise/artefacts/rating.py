"""The span rules as statements of the Collector's transform processor: the process's verdict, in OTTL."""

from __future__ import annotations

from spanwise import names
from spanwise.artefacts.ottl import DURATION, attribute, condition, seconds, string
from spanwise.rules.model import MISSED, Objective, Rule, by_precedence

__all__ = ["statements"]

# Scratch space of one span, which is never exported.
_DECIDED = 'span.cache["rule"]'


def statements(rules: tuple[Rule, ...]) -> list[str]:
    """First each span finds its rule, the most specific one first; then that rule alone rates it.

    Two passes, because a span that is good by a specific rule must not be rated by a broader one.
    A span that carries a rating keeps it: its process rated it.
    Last, the spans of a rule that has an objective say so, and whether they meet it.
    """
    unrated = f"{attribute(names.RATING)} == nil"
    deciding, rating, objectives = [], [], []
    wanted = {rule.rule for rule in rules if isinstance(rule, Objective)}
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
        if rule.name in wanted:
            # Good spans carry no rule; those that their process rated were not decided here.
            named = f"{attribute(names.RATING_RULE)} == {string(rule.name)}"
            mark = f"set({attribute(names.OBJECTIVE)}, {string(rule.name)})"
            objectives.append(f"{mark} where {_DECIDED} == {number} or {named}")
    if not objectives:
        return deciding + rating
    missed = " or ".join(f"{attribute(names.RATING)} == {string(rated)}" for rated in MISSED)
    # Whoever sent the span cannot say it for itself: it would be counted so.
    forgotten = [
        f"delete_key(span.attributes, {string(key)})" for key in (names.OBJECTIVE, names.OBJECTIVE_MET)
    ]
    about = f"{attribute(names.OBJECTIVE)} != nil"
    failed = f"span.status.code == STATUS_CODE_ERROR or {missed}"
    met = [
        f"set({attribute(names.OBJECTIVE_MET)}, true) where {about}",
        f"set({attribute(names.OBJECTIVE_MET)}, false) where {about} and ({failed})",
    ]
    return deciding + rating + forgotten + objectives + met
