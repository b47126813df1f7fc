"""No text of a thresholds file changes what a generated file is made of.

Each text is put in each place of a file where text may stand. The file is refused with our error, or every
artefact, parsed, has the same components, addresses, names and structure as with a harmless text.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from spanwise.artefacts.table import ARTEFACTS
from spanwise.errors import ThresholdsError
from spanwise.rules.alerting import Alerting
from spanwise.rules.model import Sampling
from spanwise.thresholds.load import read

HARMLESS = "harmless"
TEXTS = st.text(
    st.sampled_from("${}env:SECRET\"'\n\r\t\\`#%[]()<&*!|>@ é🎵\x00\x7f\x85\u2028")
    | st.characters(exclude_categories=["Cs"]),
    min_size=1,
    max_size=40,
)
NASTY = (
    "${env:SECRET}",
    "$${x}",
    "$service",
    "[[service]]",
    '"',
    '\\"',
    "\\",
    "a\nreceivers: {evil: {}}",
    "{{ .Labels }}",
    "{{{",
    "}}{{",
    "null",
    "off",
    "- a: b",
    '"} or vector(1) #',
    '") where true',
    "<!channel>",
    "&anchor *alias",
    "1e9",
    "0x10",
    "https://x.example/${env:A}",
    "https://x.example/{{ .Labels }}",
    "/run/../etc/{{x}}",
)
SPAN = {"match": {"a": "b"}, "good": "1s", "acceptable": "2s", "poor": "3s"}


def handlers(**one: Any) -> dict[str, Any]:
    return {"alerts": {"handlers": {"one": one}}}


PLACES: dict[str, Callable[[str], dict[str, Any]]] = {
    "a span rule's name": lambda text: {"spans": {text: SPAN}},
    "an attribute's name": lambda text: {"spans": {"r": {**SPAN, "match": {text: "b"}}}},
    "an attribute's value": lambda text: {"spans": {"r": {**SPAN, "match": {"a": text}}}},
    "a span's name": lambda text: {"spans": {"r": {**SPAN, "match": {"span.name": text}}}},
    "a span's kind": lambda text: {"spans": {"r": {**SPAN, "match": {"span.kind": text}}}},
    "a metric rule's name": lambda text: {"metrics": {text: {"level": "m", "unit": "s", "warning": "5s"}}},
    "a metric": lambda text: {"metrics": {"r": {"increase": text, "unit": "s", "over": "1h", "warning": 5}}},
    "a unit": lambda text: {"metrics": {"r": {"level": "m.n", "unit": text, "warning": 5}}},
    "a label's name": lambda text: {"metrics": {"r": {"level": f"m{{{text}=v}}", "unit": "s", "warning": 5}}},
    "a label's value": lambda text: {
        "metrics": {
            "r": {"level": f"m{{k={json.dumps(text, ensure_ascii=False)}}}", "unit": "s", "warning": 5}
        }
    },
    "a label's bare value": lambda text: {
        "metrics": {"r": {"level": f"m{{k={text}}}", "unit": "s", "warning": 5}}
    },
    "a quantile's metric": lambda text: {
        "metrics": {"r": {"quantile": 0.5, "of": text, "unit": "s", "over": "5m", "warning": "5s"}}
    },
    "a ratio": lambda text: {
        "metrics": {"r": {"ratio": f"{text} / b", "unit": "1", "over": "5m", "warning": "5%"}}
    },
    "an objective's name": lambda text: {
        "objectives": {text: {"good": "99%", "over": "30d", "spans": "db.client"}}
    },
    "an objective's rule": lambda text: {
        "spans": {text: SPAN},
        "objectives": {"o": {"good": "99%", "over": "30d", "spans": text}},
    },
    "a limit": lambda text: {"metrics": {"memory": {"warning": text}}},
    "a duration": lambda text: {"sampling": {"decision_wait": text}},
    "what is kept": lambda text: {"sampling": {"keep": [text]}},
    "a profile": lambda text: {"profile": text, "profiles": {text: {}}},
    "a setting": lambda text: {"settings": {text: text}},
    "a handler": lambda text: {"alerts": {"handlers": [text]}},
    "a handler's name": lambda text: {"alerts": {"handlers": {text: {"webhook": "https://x.example/"}}}},
    "a webhook": lambda text: handlers(webhook=text),
    "a webhook's path": lambda text: handlers(webhook=f"https://x.example/{text}"),
    "slack": lambda text: handlers(slack=f"https://x.example/{text}"),
    "slack's file": lambda text: handlers(slack={"file": text}),
    "pagerduty": lambda text: handlers(pagerduty=text),
    "pagerduty's file": lambda text: handlers(pagerduty={"file": text}),
    "a severity": lambda text: handlers(webhook="https://x.example/", severities=[text]),
}
# Where the harmless word itself is refused: the one that is not.
WORDS = {
    "a span's kind": "server",
    "a limit": "7MB",
    "a duration": "7s",
    "what is kept": "error",
    "a handler": "log",
    "a webhook": "https://x.example/harmless",
    "a severity": "critical",
}
# The shipped rules would only be compared with themselves, at some cost.
ALWAYS = (Alerting, Sampling)
SHIPPED = read(None).rules
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"')
VARIABLES = {"__rate_interval", "__range", "service", "1", "__all"}


@cache
def files(place: str, text: str) -> dict[str, str] | None:
    """Every artefact of the file; None where the file is refused."""
    document = yaml.safe_dump({"version": 1, **PLACES[place](text)}, allow_unicode=True)
    try:
        rules = tuple(
            rule for rule in read(document).rules if rule not in SHIPPED or isinstance(rule, ALWAYS)
        )
    except ThresholdsError:
        return None
    needs = () if sys.version_info >= (3, 11) else ("grafana/",)
    return {name: make(rules) for name, make in ARTEFACTS.items() if not name.startswith(needs)}


def parsed(name: str, text: str) -> Any:
    assert text.isprintable() or not re.search(r"[^\n\x20-\x7e\xa0-\U0010ffff]", text), (
        f"{name}: control characters"
    )
    return json.loads(text) if name.endswith(".json") else yaml.load(text, LOADER)


def outline(tree: Any, path: tuple[str, ...] = ("",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(where, what) of each leaf: addresses, components and types stay as they are, expressions are bared."""
    if isinstance(tree, dict):
        yield path, "{}"
        for key, value in tree.items():
            yield from outline(value, (*path, str(key)))
    elif isinstance(tree, list):
        for value in tree:
            yield from outline(value, (*path, "[]"))
    else:
        yield path, tree


def bared(path: tuple[str, ...], leaf: Any) -> Any:
    """A leaf without what a name of the file may change in it."""
    if not isinstance(leaf, str):
        # Places and ids of panels: their order is that of the names.
        return leaf if path[-1] not in ("x", "y", "id") else "number"
    if "statements" in path:
        # The number of a rule is its place among the others, which its name decides.
        return re.sub(r"\d+", "0", LITERAL.sub('""', leaf))
    if path[-1] in ("expr", "series"):
        return re.sub(r"[A-Za-z_:][\w:]*", "id", LITERAL.sub('""', leaf))
    if path[-1] in (
        "name",
        "alert",
        "objective",
        "summary",
        "title",
        "description",
        "record",
        "matcher",
        "labels",
    ):
        return "text"
    if path[-1] in (
        "url",
        "api_url",
        "url_file",
        "api_url_file",
        "routing_key",
        "routing_key_file",
        "values",
    ):
        return path[-1]
    return leaf


@cache
def shape(name: str, text: str) -> Counter[Any]:
    return Counter((path, bared(path, leaf)) for path, leaf in outline(parsed(name, text)))


@pytest.mark.parametrize("place", PLACES)
def test_the_harmless_word_is_taken(place: str) -> None:
    """Else the test below would compare nothing."""
    assert files(place, WORDS.get(place, HARMLESS))


def check(place: str, text: str) -> None:
    found = files(place, text)
    if found is None:
        return
    harmless = files(place, WORDS.get(place, HARMLESS))
    assert harmless is not None
    for name in found:
        if bare(found[name]) == bare(harmless[name]):
            continue
        if place in (
            "a limit",
            "a duration",
            "what is kept",
            "a span's kind",
            "a severity",
            "a unit",
            "a handler",
            "a ratio",
            "a metric",
            "a quantile's metric",
            "a label's bare value",
            "a label's name",
        ):
            # Another figure, word or selector is another rule: only what must never change is compared.
            assert components(name, found[name]) == components(name, harmless[name])
        else:
            assert shape(name, found[name]) == shape(name, harmless[name]), name
        literal(name, found[name])


def bare(text: str) -> str:
    """A file without its stamp, which every change changes."""
    return "\n".join(line for line in text.splitlines() if "sha256" not in line)


@cache
def components(name: str, text: str) -> Any:
    """What a file is made of: a Collector's components, addresses and pipelines; others' groups and names."""
    tree = parsed(name, text)
    if name in ("gateway.yaml", "agent.yaml"):
        for key in ("spanmetrics", "servicegraph"):
            tree.get("connectors", {}).pop(key, None)  # their buckets are the limits
        processors = tree["processors"]
        return [tree["receivers"], tree["exporters"], tree["extensions"], tree["service"], sorted(processors)]
    if name == "alertmanager.yaml":
        return [sorted(tree), [each["name"] for each in tree["receivers"]], tree["route"]]
    if name.startswith("prometheus"):
        return sorted(tree)
    return [sorted(tree), tree["templating"], tree["links"], {panel["type"] for panel in tree["panels"]}]


def literal(name: str, text: str) -> None:
    """Nothing that the reader of a file would act upon, besides what is ours."""
    tree = parsed(name, text)
    for path, leaf in outline(tree):
        if not isinstance(leaf, str):
            continue
        if name in ("gateway.yaml", "agent.yaml"):
            rest = re.sub(r"^\$\{env:SPANWISE_[A-Z_]+:-[\w./:-]*\}$", "", leaf)
            assert "$" not in rest.replace("$$", ""), (path, leaf)
            assert "statements" not in path or (leaf.isascii() and leaf.isprintable())
        if name == "alertmanager.yaml" and path[-1] in ("url", "api_url", "routing_key"):
            assert "{{" not in leaf
        if path[-1] in ("summary", "description") and "annotations" in path:
            actions = re.sub(re.escape('{{"{{"}}'), "", leaf)
            allowed = {"$labels.service_name", "$value", "$value | humanizePercentage"}
            assert {each.strip() for each in re.findall(r"\{\{([^{}]*)\}\}", actions)} <= allowed, leaf
            assert "{{" not in re.sub(r"\{\{[^{}]*\}\}", "", actions), leaf
        if name.startswith("grafana"):
            used = {
                next(filter(None, match))
                for match in re.findall(r"\$(\w+)|\$\{(\w*)|\[\[(\w*)", leaf)
                if any(match)
            }
            assert used <= VARIABLES, (path, leaf)


@pytest.mark.parametrize("place", PLACES)
def test_nasty_texts(place: str) -> None:
    for text in NASTY:
        check(place, text)


@given(st.sampled_from(sorted(PLACES)), TEXTS)
@example("an attribute's value", "\ud7ff\ue000")
def test_any_text(place: str, text: str) -> None:
    if place == "an attribute's value" and text == "*":
        return  # any value: another condition
    check(place, text)


@pytest.mark.parametrize(
    "text",
    [
        "spans: {a: {match: {b: c}, good: .nan, acceptable: 2s, poor: 3s}}",
        "spans: {a: {match: {b: c}, good: -1s, acceptable: 2s, poor: 3s}}",
        "metrics: {memory: {warning: .inf}}",
        "metrics: {memory: {warning: -5MB}}",
        "metrics: {memory: {warning: 5MB, warning: 6MB}}",
        "spans: {a: {match: {b: .nan}, good: 1s, acceptable: 2s, poor: 3s}}",
        "objectives: {db.client: {good: .nan, over: 30d}}",
    ],
)
def test_no_number_is_no_number(text: str) -> None:
    with pytest.raises(ThresholdsError):
        read(f"version: 1\n{text}\n")
