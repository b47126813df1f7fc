"""Where settings come from, which source holds, and what is told about those that cannot be used."""

from __future__ import annotations

import dataclasses

import pytest

from spanwise.settings import SIGNALS, Exporter, Settings, documentation
from spanwise.sources import load


def test_precedence_argument_environment_file_default() -> None:
    arguments, environ, file = {"span_batch": 1}, {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}, {"span_batch": 3}
    assert load(arguments, environ, file).span_batch == 1
    assert load({}, environ, file).span_batch == 2
    assert load({}, {}, file).span_batch == 3
    assert load({}, {}, {}).span_batch == Settings().span_batch == 2048


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load({}, {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": " "}, {"span_batch": 3}).span_batch == 3
    assert load({}, {"OTEL_TRACES_EXPORTER": ""}).traces_exporter == ("otlp",)
    assert load({}, {"OTEL_TRACES_EXPORTER": ""}).problems == ()


@pytest.mark.parametrize("bad", ["x", "0", "-1", "1.5"])
def test_a_bad_value_is_told_with_its_place_and_the_next_source_holds(bad: str) -> None:
    loaded = load({}, {"OTEL_BSP_MAX_QUEUE_SIZE": bad}, {"span_queue": 7})
    assert loaded.span_queue == 7
    (problem,) = loaded.problems
    assert repr(bad) in problem
    assert "OTEL_BSP_MAX_QUEUE_SIZE" in problem


def test_a_bad_argument_leaves_the_variable_in_force() -> None:
    loaded = load({"span_queue": "many"}, {"OTEL_BSP_MAX_QUEUE_SIZE": "9"})
    assert loaded.span_queue == 9
    assert "argument span_queue" in loaded.problems[0]


def test_bad_headers_are_told_without_their_secret() -> None:
    loaded = load({}, {"OTEL_EXPORTER_OTLP_HEADERS": "authorization Bearer s3cret"})
    assert loaded.traces.headers == ()
    assert "OTEL_EXPORTER_OTLP_HEADERS" in loaded.problems[0]
    assert "s3cret" not in " ".join(loaded.problems)


@pytest.mark.parametrize(
    ("text", "disabled"), [("true", True), ("TRUE", True), ("false", False), ("1", False)]
)
def test_only_true_disables_the_sdk(text: str, disabled: bool) -> None:
    """https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#boolean"""
    assert load({}, {"OTEL_SDK_DISABLED": text}).disabled is disabled


def test_our_own_booleans_take_one() -> None:
    assert load({}, {"SPANWISE_STARTUP_REPORT": "1"}).startup_report is True
    assert load({"startup_report": True}, {}).startup_report is True


def test_a_signal_s_own_exporter_variable_wins_over_the_general_one() -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://all:4318",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "5",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://logs/take",
        "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION": "gzip",
    }
    loaded = load({}, environ)
    assert [loaded.exporter(signal).endpoint for signal in SIGNALS] == ["http://all:4318"] * 2 + [
        "http://logs/take"
    ]
    assert [loaded.exporter(signal).endpoint_is_whole for signal in SIGNALS] == [False, False, True]
    assert [loaded.exporter(signal).compression for signal in SIGNALS] == ["none", "gzip", "none"]
    assert [loaded.exporter(signal).timeout for signal in SIGNALS] == [5, 5, 5]


def test_headers_are_decoded_and_keep_equals_signs() -> None:
    environ = {"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Basic%20YQ==,x=1"}
    assert load({}, environ).traces.headers == (("authorization", "Basic YQ=="), ("x", "1"))


def test_headers_as_a_mapping_keep_commas() -> None:
    given = load({"headers": {"X-List": "a,b=c d%"}}, {})
    assert given.traces.headers == (("x-list", "a,b=c d%"),)
    assert given.problems == ()


def test_an_unknown_name_is_told_with_a_suggestion() -> None:
    assert "Did you mean 'span_queue'?" in load({"span_que": 1}, {}).problems[0]
    assert "thresholds file" in load({}, {}, {"traces_endpont": "x"}).problems[0]
    assert "README" in load({"zzzzzz": 1}, {}).problems[0]
    for said in ("OTEL_EXPORTER_OTLP_ENDPOINT", "exporter_otlp_endpont"):
        assert load({said: 1}, {}).problems[0].endswith("Did you mean 'endpoint'?")


def test_documentation_has_every_field_with_its_default() -> None:
    rows = documentation()
    told = {variable for variable, *_ in rows}
    fields = [
        field for owner in (Settings, Exporter) for field in dataclasses.fields(owner) if field.metadata
    ]
    assert len(rows) == len(fields) == len(told)
    for field in fields:
        assert any(variable.endswith(field.metadata["env"]) for variable in told)
    # What is no setting of its own: the three exporters, what was computed, what went wrong.
    undocumented = {field.name for field in dataclasses.fields(Settings) if not field.metadata}
    assert undocumented == {*SIGNALS, "problems"}
    assert ("OTEL_BSP_MAX_QUEUE_SIZE", "span_queue", "65536") in {row[:3] for row in rows}
    assert ("OTEL_SDK_DISABLED", "disabled", "false") in {row[:3] for row in rows}
    assert all(meaning for *_, meaning in rows)
