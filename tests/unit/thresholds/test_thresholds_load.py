"""The thresholds file: what holds, what is refused, and where the message points."""

from __future__ import annotations

import contextlib
import os
import threading
import tracemalloc
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from spanwise.errors import ThresholdsError
from spanwise.rules.model import History, MetricRule, Rule, Sampling, SpanRule
from spanwise.thresholds import document
from spanwise.thresholds.kinds.table import KINDS
from spanwise.thresholds.load import describe, load, lower, read
from spanwise.thresholds.sections import SINGLE

V = "version: 1\n"


def spans(rules: tuple[Rule, ...]) -> dict[str, SpanRule]:
    return {rule.name: rule for rule in rules if isinstance(rule, SpanRule)}


def metrics(rules: tuple[Rule, ...]) -> dict[tuple[str, str], MetricRule]:
    return {(rule.name, rule.severity): rule for rule in rules if isinstance(rule, MetricRule)}


def test_the_shipped_figures_are_those_of_the_specification() -> None:
    rules = lower(load())
    edges = {name: (rule.good, rule.acceptable, rule.poor) for name, rule in spans(rules).items()}
    s = 1_000_000_000
    assert edges["http.server"] == (s, 3 * s, 5 * s)
    assert edges["db.client"] == (s // 10, s // 2, s)
    assert edges["gen_ai"] == (5 * s, 15 * s, 30 * s)
    limits = {key: rule.limit for key, rule in metrics(rules).items()}
    assert limits["memory", "warning"] == 500e6
    assert limits["memory", "critical"] == 800e6
    assert limits["circuit_trips", "warning"] == 5
    assert metrics(rules)["circuit_trips", "warning"].window == 3600 * s
    assert limits["preload_failures", "critical"] == 0.2
    assert limits["latency", "warning"] == 2
    assert next(rule for rule in rules if isinstance(rule, Sampling)).baseline == 10


def test_every_kind_is_in_the_defaults() -> None:
    assert {entry.kind for entry in load().entries} == {*KINDS, *SINGLE}


def test_a_file_overrides_by_field_and_off_removes() -> None:
    rules = lower(read(V + "spans: {http.server: {good: 2s}}\nmetrics: {memory: off}\n"))
    assert spans(rules)["http.server"].good == 2_000_000_000
    assert spans(rules)["http.server"].poor == 5_000_000_000
    assert ("memory", "warning") not in metrics(rules)


def test_another_kind_under_the_same_name_replaces_all_of_it() -> None:
    rules = lower(read(V + "metrics: {memory: {increase: x.y, unit: By, warning: 5MB, over: 1h}}"))
    assert metrics(rules)["memory", "warning"].form == "increase"
    assert ("memory", "critical") not in metrics(rules)


def test_profiles_are_layers_and_the_argument_wins() -> None:
    mine = V + "profile: wifi\nprofiles: {wifi: {spans: {preload: {poor: 11s}}}}\n"
    assert spans(lower(read(mine)))["preload"].poor == 11_000_000_000
    assert spans(lower(read(mine, "cellular")))["preload"].poor == 15_000_000_000
    assert read(mine, "cellular").profile == "cellular"


def test_settings_are_handed_over() -> None:
    found = read(V + "settings: {endpoint: 'http://x', process_meters: true, a: [b, c], n: 5}").settings
    assert found == {"endpoint": "http://x", "process_meters": True, "a": ["b", "c"], "n": 5}


@pytest.mark.parametrize(
    ("profile", "seconds"), [("production", 30), ("development", 10), ("testing", 5), ("wifi", 30)]
)
def test_the_history_s_interval_is_the_profile_s(profile: str, seconds: int) -> None:
    assert History(seconds * 10**9, 1000) in lower(load(profile=profile))
    assert History(seconds * 10**9, 0) in lower(read(V + "history: {samples: 0}", profile))


def test_one_line_a_rule() -> None:
    found = load()
    lines = describe(found)
    assert len(lines) == len(found.rules)
    assert "http.server: good ≤ 1s · acceptable ≤ 3s · poor ≤ 5s" in lines


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        (V + "spanz: {}", ":2:1", "Did you mean 'spans'"),
        (V + "spans:\n  http.server: {goood: 1s}", ":3:17", "Did you mean 'good'"),
        (V + "version: 1", ":2:1", "twice"),
        (V + "spans: {a: {match: {x: y}, good: 3s, acceptable: 2s, poor: 5s}}", ":2:9", "must rise"),
        (V + "spans: {http.server: {good: 1}}", ":2:29", "Add a unit"),
        (V + "history: {interval: 100ms}", ":2:21", "too often"),
        (V + "history: {samples: 10001}", ":2:20", "10000 at most"),
        (V + "history: {sample: 5}", ":2:11", "Did you mean 'samples'"),
        (V + "spans: {http.server: {good: -1s}}", ":2:29", "below zero"),
        (V + "spans: {http.server: {good: .nan}}", ":2:29", "expected a duration"),
        (V + "spans: {http.server: {good: .inf}}", ":2:29", "expected a duration"),
        (V + "spans: {http.server: {good: 0.5ns}}", ":2:29", "finer"),
        (V + "spans: {a: {match: {x: 1.5}, good: 1s, acceptable: 2s, poor: 3s}}", ":2:24", "exactly"),
        (V + "spans: {a: {match: {}, good: 1s, acceptable: 2s, poor: 3s}}", ":2:20", "every span"),
        (V + "spans: {a: {good: 1s, acceptable: 2s, poor: 3s}}", ":2:9", "Add match"),
        (V + "metrics: {memory: {warning: NaN}}", ":2:29", "expected a number"),
        (V + "metrics: {memory: {warning: 5s}}", ":2:29", "another unit"),
        (V + "metrics: {preload_failures: {warning: 10}}", ":2:39", "Did you mean 10%"),
        (
            V + "metrics: {memory: {info: 600MB}}",
            ":2:11",
            "info (600MB) is above warning (500MB, the shipped default)",
        ),
        (V + "metrics: {memory: {warning: 9e8}}", ":2:29", "is no unit"),
        (
            V + "metrics: {memory: {warning: 2GB, critical: 1.5GB}}",
            ":2:11",
            "(2GB) is above critical (1.5GB)",
        ),
        (V + "metrics: {preload_failures: {warning: 2000000}}", ":2:39", "2000000 is more than the whole"),
        (V + "spans: {http.server: {good: 9s}}", ":2:9", "good (9s), acceptable (3s, the shipped default)"),
        (
            V + "metrics: {memory: {warning: 900MB}}",
            ":2:11",
            "warning (900MB) is above critical (800MB, the shipped default)",
        ),
        (V + "metrics: {a: {warning: 5}}", ":2:11", "does not say what it watches"),
        (V + "metrics: {a: {level: unknown.metric, warning: 5}}", ":2:22", "unit"),
        (V + "metrics: {a: {level: process.cpu.time, warning: 5s}}", ":2:22", "Give another gauge"),
        (V + "metrics: {a: {level: 'x{', unit: s, warning: 5}}", ":2:22", "no metric"),
        (V + "profile: prod", ":2:10", "no profile"),
        (V + "profiles: {p: {spans: {a: {goood: 1s}}}}", ":2:28", "Did you mean 'good'"),
        (V + "sampling: {keep: [errors]}", ":2:19", "Did you mean 'error'"),
        (V + "sampling: {baseline: 110%}", ":2:22", "more than the whole"),
        ("version: 2", ":1:10", "not known"),
        ("a: &x 1\nb: *x", ":1:4", "anchors"),
        ("a: [", "", "not YAML"),
        ("a: !!python/object:os.system {}", "", ""),
        ("[" * 5000, ":1:17", "too deep"),
        ("a: " + "[" * 5000 + "]" * 5000, ":1:19", "too deep"),
        ("[{a: " * 2000, ":1:41", "too deep"),
        ("- " * 5000, ":1:33", "too deep"),
        ('version: 1\nspans: {"a\\nb": {}}', ":2:9", "cannot be a name"),
        ("spans: {}", ":1:1", "Begin it with version"),
    ],
)
@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_a_mistake_is_told_with_its_place_and_what_to_do(
    text: str, where: str, said: str, loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever PyYAML there is: built with libyaml, in an older or a newer version, or without it."""
    monkeypatch.setattr(document, "_Loader", getattr(yaml, loader, yaml.SafeLoader))
    with pytest.raises(ThresholdsError) as caught:
        read(text, file="f.yaml")
    assert caught.value.where.endswith(where)
    assert caught.value.where.startswith("f.yaml")
    assert said in str(caught.value)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_by_our_error(text: str) -> None:
    for tried in (text, V + text, V + "spans:\n  " + text, V + f"spans: {{a: {{match: {{b: {text}}}}}}}"):
        # Any other exception would reach the application at start-up.
        with contextlib.suppress(ThresholdsError):
            read(tried)


@pytest.mark.parametrize("scalar", ["0x_", "0b_", "-0x_", "9" * 5000, "1" + ":1" * 400 + ".5"])
@pytest.mark.parametrize(
    "where", ["settings: {a: %s}", "spans: {x: {match: {y: %s}, good: 1s, acceptable: 2s, poor: 3s}}"]
)
def test_what_yaml_takes_for_a_number_and_is_none_is_an_error_with_its_place(where: str, scalar: str) -> None:
    with pytest.raises(ThresholdsError, match="as a number") as caught:
        read(V + where % scalar + "\n")
    assert caught.value.where == f"thresholds.yaml:2:{where.index('%') + 1}"


@given(st.text(alphabet="0123456789xbo_+-.:eEinfatrusy~", min_size=1, max_size=12))
def test_any_scalar_is_a_value_or_an_error_of_the_file(scalar: str) -> None:
    with contextlib.suppress(ThresholdsError):
        read(f"{V}settings: {{a: {scalar}}}\n")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("__name__=x", "__name__"),
        ("..x=1", "___x|__x"),
        ("le=1", "le"),
        ("a.b=1,a_b=2", "same to Prometheus: a_b"),
        ("a.b=1,a-b=2", "same to Prometheus: a_b"),
    ],
)
@pytest.mark.parametrize(
    "what",
    [
        'level: "app.q{%s}", unit: "1", warning: 5',
        'increase: "app.q{%s}", over: 5m, unit: "1", warning: 5',
        'ratio: "app.q{%s} / app.q", over: 5m, unit: "1", warning: 5%%',
        'quantile: 0.9, of: "app.q{%s}", over: 5m, unit: s, warning: 5s',
    ],
)
def test_a_label_that_prometheus_cannot_select_by_is_refused(what: str, labels: str, said: str) -> None:
    with pytest.raises(ThresholdsError, match=said) as caught:
        read(f"{V}metrics: {{x: {{{what % labels}}}}}\n")
    assert caught.value.where.startswith("thresholds.yaml:2:")


def test_other_labels_are_taken() -> None:
    read(f'{V}metrics: {{x: {{level: "app.q{{a.b=1,level=2,_x=3}}", unit: "1", warning: 5}}}}\n')


def test_of_a_file_that_is_too_long_no_more_is_read_than_shows_it(tmp_path: Path) -> None:
    file = tmp_path / "huge.yaml"
    with file.open("wb") as made:
        made.truncate(64_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(ThresholdsError, match="longer than 1,000,000 characters"):
            load(file)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_pipe_is_refused_where_it_would_be_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    said: list[str] = []

    def read_it() -> None:
        try:
            load(pipe)
        except ThresholdsError as error:
            said.append(str(error))

    reader = threading.Thread(target=read_it, daemon=True)
    reader.start()
    reader.join(60)
    assert not reader.is_alive()
    assert "no regular file" in said[0]


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
@pytest.mark.parametrize(
    ("text", "tag", "place"),
    [
        ("history: {interval: !!python/name:os.system 30s}", "!!python/name:os.system", "2:21"),
        ("history: !!python/object/apply:os.system ['true']", "!!python/object/apply:os.system", "2:10"),
        ("history: !!map {interval: 30s}", "!!map", "2:10"),
        ("history: ! {interval: 30s}", "!", "2:10"),
        ("history:\n  interval: ! 30s", "!", "3:13"),
        ("history: {interval: !!str 30s}", "!!str", "2:21"),
        ("history: {interval: !duration 30s}", "!duration", "2:21"),
        ("history: {interval: !<x:y> 30s}", "x:y", "2:21"),
        ("history: {!!str interval: 30s}", "!!str", "2:11"),
        ("history: {? !!python/tuple interval : 30s}", "!!python/tuple", "2:13"),
        ("history: {interval: !!null }", "!!null", "2:21"),
        ("sampling:\n  keep:\n    - error\n    - !!binary poor", "!!binary", "5:7"),
        ("sampling: {keep: !!set {error}}", "!!set", "2:18"),
    ],
)
def test_explicit_tags_are_refused(
    text: str, tag: str, place: str, loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "_Loader", getattr(yaml, loader))
    with pytest.raises(ThresholdsError, match="tag") as caught:
        read(V + text, file="f.yaml")
    assert (caught.value.what, caught.value.where) == (f"the tag {tag!r} is not allowed", f"f.yaml:{place}")


def test_what_only_looks_like_a_tag_is_none() -> None:
    assert document.parse("{a: 'x!y', b: \"!!str\", c: d !e, f: 2020-01-01}", "f").written == (
        "{a: x!y, b: !!str, c: d !e, f: 2020-01-01}"
    )
